"""One call of `Lipsync`: admitted or not, worked on in a thread, answered while it goes on."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from .. import __version__
from ..errors import LipSyncError, OutputError
from ..options import DubOptions
from . import jobs, messages
from .metrics import Metrics
from .settings import ServiceSettings
from .spool import Stopped, UploadError
from .upload import Upload
from .wishes import wishes_of

log = logging.getLogger(__name__)
AHEAD = 64
"""Pieces of a result that may wait for a slow client."""
TICK = 0.2
"""Seconds between two looks at whether the client is still there."""
CONFIG_WAIT = 30.0
"""Seconds within which the config must come."""
_END = object()


class Failure(Exception):  # noqa: N818
    """How a call ends when it does not end well."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass
class _Call:
    """Who is asked for what; as text the beginning of its lines in the log."""

    name: str
    session: str
    begun: float = field(default_factory=time.monotonic)
    admitted: bool = False
    had_turn: bool = False

    def __str__(self) -> str:
        return f"request {self.name}" + (f" session {_clean(self.session)}" if self.session else "")


class Lipsync:
    """The method. `options` hold the generator and the face models, which all calls share."""

    def __init__(self, settings: ServiceSettings, options: DubOptions, metrics: Metrics) -> None:
        self._settings, self._options, self._metrics = settings, options, metrics
        self._turn = threading.Condition()
        self._running = self._open = 0
        self._calls: set[Upload] = set()
        self._closing = False

    # -- admission -------------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        with self._turn:
            if self._closing:
                raise Failure(grpc.StatusCode.UNAVAILABLE, "The server is shutting down: try another one, or again later.")
            if self._open >= self._settings.streams + self._settings.queue:
                raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, f"The server works on {self._settings.streams} request(s) and "
                              f"{self._settings.queue} more wait: try again later.")
            self._open += 1

    def _my_turn(self, call: _Call) -> bool:
        """Take a turn if there is one."""
        with self._turn:
            if self._running >= self._settings.streams:
                return False
            self._running += 1
            call.had_turn = True
            self._metrics.running.set(self._running)
            return True

    def _leave(self, had_turn: bool) -> None:
        with self._turn:
            self._open -= 1
            self._running -= had_turn
            self._metrics.running.set(self._running)
            self._metrics.waiting.set(max(0, self._open - self._running))
            self._turn.notify_all()

    def close(self, grace: float) -> None:
        """Take nothing new; wait for what runs, `grace` seconds at most, then stop it."""
        with self._turn:
            self._closing = True
            until = time.monotonic() + grace
            while self._open and (left := until - time.monotonic()) > 0:
                self._turn.wait(left)
            for upload in self._calls:
                upload.flow.stop()
            until = time.monotonic() + 2.0
            while self._open and (left := until - time.monotonic()) > 0:
                self._turn.wait(left)

    # -- the call --------------------------------------------------------------------------------------------------------

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        metadata = dict(context.invocation_metadata())
        call = _Call(uuid.uuid4().hex[:12], str(metadata.get("client-session-id", "")))
        code = grpc.StatusCode.CANCELLED                              # what is closed in the middle has gone
        try:
            self._admit()
            call.admitted = True
            log.info("%s: begins", call)
            with tempfile.TemporaryDirectory(prefix="openlipsync-", dir=self._settings.temp, ignore_cleanup_errors=True) as folder:
                yield from self._answer(requests, context, call, Path(folder))
            code = grpc.StatusCode.OK
        except (Failure, LipSyncError) as error:
            failure = error if isinstance(error, Failure) else _failure(error)
            code = failure.code
            log.info("%s: %s: %s", call, code.name, failure)
            context.abort(code, str(failure))
        except Stopped:
            log.info("%s: the client has gone", call)
            if context.is_active():                                   # the server itself has given up
                code = grpc.StatusCode.UNAVAILABLE
                context.abort(code, "The server is shutting down: try another one, or again later.")
        finally:
            if call.admitted:
                self._leave(call.had_turn)
                _give_back()
            self._metrics.requests.labels(code.name).inc()
            self._metrics.seconds.observe(time.monotonic() - call.begun)
            if code is grpc.StatusCode.INTERNAL:
                self._metrics.errors.inc()

    def _answer(self, requests: Iterator[Any], context: grpc.ServicerContext, call: _Call, folder: Path) -> Iterator[Any]:
        upload, worker = Upload(folder, self._settings.max_upload), None
        with self._turn:
            self._calls.add(upload)
        if not context.add_callback(upload.flow.stop):
            upload.flow.stop()
        receiver = threading.Thread(target=upload.receive, args=(requests,), name=f"receive-{call.name}", daemon=True)
        try:
            yield messages.Response(service_info=messages.ServiceInfo(
                feature_version=__version__, feature_name="OpenLipSync", model_info=self._model(), server_request_id=call.name,
                client_session_id=call.session))
            receiver.start()
            yield from self._until(lambda: upload.config is not None, upload, call, min(CONFIG_WAIT, self._settings.idle))
            wishes = wishes_of(upload.config)
            yield messages.Response(config=upload.config)
            self._told_waiting()
            yield from self._until(lambda: self._my_turn(call), upload, call, None)
            self._told_waiting()
            outbox: queue.Queue = queue.Queue(AHEAD)
            worker = threading.Thread(target=self._work, args=(upload, wishes, folder, outbox, call, context.cancel),
                                      name=f"work-{call.name}", daemon=True)
            worker.start()
            yield from self._pieces(outbox, upload, call)
        finally:
            upload.flow.stop()
            if worker is not None:
                worker.join()
            with self._turn:
                self._calls.discard(upload)

    def _told_waiting(self) -> None:
        self._metrics.waiting.set(max(0, self._open - self._running))

    def _model(self) -> str:
        generator = self._options.generator
        return str(getattr(getattr(generator, "spec", None), "name", generator))

    def _until(self, ready: Callable[[], bool], upload: Upload, call: _Call, idle: float | None) -> Iterator[Any]:
        """Keepalives until `ready()`. Raises `Failure` after `idle` seconds."""
        since = said = time.monotonic()
        while not ready():
            upload.flow.check()
            now = time.monotonic()
            if idle is not None and now - since > idle:
                raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"No config came within {idle:g} s.")
            self._in_time(call)
            if now - said >= self._settings.keepalive:
                said = now
                yield messages.Response(keepalive={})
            with upload.flow.changed:
                upload.flow.changed.wait(TICK)

    def _in_time(self, call: _Call) -> None:
        if time.monotonic() - call.begun > self._settings.total:
            raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"The request took more than the {self._settings.total:g} s that this server "
                          "gives one.")

    def _pieces(self, outbox: queue.Queue, upload: Upload, call: _Call) -> Iterator[Any]:
        said = time.monotonic()
        while True:
            if upload.flow.stopped:
                raise Stopped
            try:
                item = outbox.get(timeout=TICK)
            except queue.Empty:
                item = None
            now = time.monotonic()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            if item is not None:
                said = now
                self._metrics.bytes.inc(len(item))
                yield messages.Response(video_file_data=item)
            elif now - said >= self._settings.keepalive:
                said = now
                yield messages.Response(keepalive={})
            self._in_time(call)
            if upload.flow.waiting and now - upload.last_message > self._settings.idle:
                raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"The client sent nothing for {self._settings.idle:g} s, and more was "
                              "awaited: close the sending side when all is sent.")

    def _work(self, upload: Upload, wishes: Any, folder: Path, outbox: queue.Queue, call: _Call,
              cancel: Callable[[], object]) -> None:
        """In a thread of its own."""
        begun = time.monotonic()

        def put(item: object) -> None:
            since = time.monotonic()
            while not upload.flow.stopped:
                try:
                    return outbox.put(item, timeout=TICK)
                except queue.Full:
                    if time.monotonic() - since > self._settings.idle:
                        log.info("%s: the client took nothing for %g s and is given up", call, self._settings.idle)
                        cancel()
                        break
            raise Stopped

        def send(data: bytes) -> None:
            for first in range(0, len(data), jobs.PIECE):
                put(data[first:first + jobs.PIECE])

        hooks = self._metrics.hooks(upload.flow.check, lambda sentence: log.info("%s: %s", call, sentence))
        try:
            done = jobs.run(upload, wishes, self._options, folder, send, hooks)
            self._metrics.frames.labels("dubbed").inc(done.dubbed)
            self._metrics.frames.labels("passed").inc(done.frames - done.dubbed)
            log.info("%s: done (%s): %d frames, %d dubbed, %.2f s of video in %.2f s", call, done.way, done.frames, done.dubbed,
                     done.seconds, time.monotonic() - begun)
            result: object = _END
        except Stopped as stopped:
            result = stopped
        except LipSyncError as error:
            result = _failure(error, folder)
        except Exception:  # noqa: BLE001 - one call must not take the server with it; the log has it all
            log.exception("%s: failed", call)
            result = Failure(grpc.StatusCode.INTERNAL, "The server failed at this request: its log says more.")
        try:
            put(result)
        except Stopped:
            pass


def _failure(error: LipSyncError, folder: Path | None = None) -> Failure:
    """A sentence names the client's files, not those of the server."""
    sentence = str(error)
    if folder is not None:
        sentence = sentence.replace(f"{folder}{os.sep}", "the ").replace(str(folder), "the upload")
    if isinstance(error, UploadError) and error.exhausted:
        return Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
    if isinstance(error, OutputError):
        return Failure(grpc.StatusCode.INTERNAL, sentence)
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, sentence)


def _give_back() -> None:
    """Let the system have the memory that a request's threads have freed: glibc keeps it for threads to come, and it adds up over
    requests (`benchmarks/serving.py --trials jobs`)."""
    if sys.platform != "linux":
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass                                                          # another C library, which has no such habit


def _clean(text: object) -> str:
    """A session's name in one short line of a log."""
    return "".join(c if c.isprintable() else "?" for c in str(text))[:80]
