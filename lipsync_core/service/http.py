"""Health and metrics over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from ..errors import LipSyncError


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, form: str, *arguments: object) -> None:
        pass


class HttpSide:
    """`/v1/health/live`, `/v1/health/ready` (503 while `ready()` is false) and `/metrics`, in a thread of its own. Raises `LipSyncError`
    where the port is taken."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool], registry: CollectorRegistry) -> None:
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start: Callable) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "").rstrip("/")
            if path == "/metrics":
                return metrics(environ, start)
            found = {"/v1/health/live": ("200 OK", b'{"status": "live"}\n'),
                     "/v1/health/ready": ("200 OK", b'{"status": "ready"}\n') if ready() else
                                         ("503 Service Unavailable", b'{"status": "not ready"}\n')}
            status, body = found.get(path, ("404 Not Found", b'{"detail": "There are /v1/health/live, /v1/health/ready, /metrics."}\n'))
            start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]

        try:
            self._server = make_server(host, port, app, _Server, _Quiet)
        except OSError as error:
            raise LipSyncError(f"Port {port} of {host} can't be listened on ({error.strerror}): choose another --http-port.") from error
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
