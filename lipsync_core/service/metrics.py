"""Figures for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..types import Hooks


class Metrics:
    """Of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def made(kind: type, name: str, text: str, labels: tuple[str, ...] = (), **more: object) -> object:
            return kind(f"openlipsync_{name}", text, labels, registry=self.registry, **more)

        self.requests = made(Counter, "requests", "Requests that have ended, by gRPC status.", ("code",))
        self.errors = made(Counter, "errors", "Requests that have ended with an error of the server's own.")
        self.running = made(Gauge, "streams", "Requests that are worked on.")
        self.waiting = made(Gauge, "queue", "Requests that wait for their turn.")
        self.frames = made(Counter, "frames", "Frames that were sent, by what was done.", ("done",))
        self.stages = made(Counter, "stage_seconds", "Seconds spent in each stage.", ("stage",))
        self.bytes = made(Counter, "sent_bytes", "Bytes of results.")
        self.seconds = made(Histogram, "request_seconds", "Seconds of whole requests.", buckets=(1, 3, 10, 30, 100, 300, 1000, 3000, 10000))

    def hooks(self, check: Callable[[], None], warn: Callable[[str], None]) -> Hooks:
        """Hooks of one job whose stages are timed."""
        last: list[tuple[str, float]] = [("start", time.monotonic())]

        def progress(stage: str, done: int, total: int) -> None:
            now = time.monotonic()
            self.stages.labels(stage).inc(now - last[0][1])
            last[0] = stage, now

        return Hooks(progress=progress, check_interrupt=check, warn=warn)
