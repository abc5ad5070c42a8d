"""The server: gRPC with health, HTTP beside it, a beginning and an end."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ..errors import LipSyncError
from ..models import find_model
from ..options import DubOptions
from . import messages
from .handler import Lipsync
from .http import HttpSide
from .metrics import Metrics
from .settings import ServiceSettings

log = logging.getLogger(__name__)
SPARE = 16
"""Threads beside those of requests: for health, and to answer whoever comes too many."""
PINGS = (("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_timeout_ms", 20_000), ("grpc.keepalive_permit_without_calls", 1),
         ("grpc.http2.min_ping_interval_without_data_ms", 5_000), ("grpc.http2.max_ping_strikes", 0))
"""Connections whose other end has vanished are noticed; clients may ask as often as they like."""


class Server:
    """Listens as soon as it is made. Raises `LipSyncError` for settings that can't be, a port that is taken, a generator that can't be
    loaded."""

    def __init__(self, settings: ServiceSettings) -> None:
        from ..dubbing import generator_of

        settings.check()
        self.settings, self.metrics, self._ready = settings, Metrics(), False
        options = DubOptions(generator=find_model(settings.generator), generator_options=settings.generator_options, device=settings.device)
        options = DubOptions(generator=generator_of(options), backend=options.faces().create())
        self._method = Lipsync(settings, options, self.metrics)
        self._health = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(settings.streams + settings.queue + SPARE, thread_name_prefix="grpc"),
            options=(("grpc.max_receive_message_length", settings.max_message), ("grpc.max_send_message_length", settings.max_message),
                     ("grpc.so_reuseport", 0), *PINGS))
        method = grpc.stream_stream_rpc_method_handler(self._method, request_deserializer=messages.read_request,
                                                       response_serializer=messages.Response.SerializeToString)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, {messages.METHOD: method}),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._listen()
        self._http = HttpSide(settings.host, settings.http_port, lambda: self._ready, self.metrics.registry)
        self.http_port = self._http.port
        self._server.start()
        self._say(True)

    def _listen(self) -> int:
        settings = self.settings
        address = f"{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        try:
            if settings.certificate is None or settings.key is None:
                return self._server.add_insecure_port(address)
            ca = settings.client_ca.read_bytes() if settings.client_ca is not None else None
            pairs = [(settings.key.read_bytes(), settings.certificate.read_bytes())]
            return self._server.add_secure_port(address, grpc.ssl_server_credentials(pairs, ca, ca is not None))
        except (RuntimeError, OSError) as error:
            raise LipSyncError(f"{address} can't be listened on: the port is taken, or the certificate is none (choose another --port, "
                               "look at --tls-cert).") from error

    def _say(self, ready: bool) -> None:
        self._ready = ready
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", messages.SERVICE):
            self._health.set(name, status)

    def close(self, grace: float | None = None) -> None:
        """No longer ready first; then what runs may finish within `grace` seconds (default: the settings')."""
        self._say(False)
        self._method.close(self.settings.grace if grace is None else grace)
        self._server.stop(1.0).wait()
        self._http.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(0.0)
