"""What a server may be told when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LipSyncError


@dataclass(frozen=True)
class ServiceSettings:
    """The defaults suit one machine and its own user."""

    host: str = "127.0.0.1"
    """Address to listen on; '0.0.0.0' for every one of the machine."""
    port: int = 8001
    """gRPC; 0 = any free one."""
    http_port: int = 8000
    """Health and metrics; 0 = any free one."""
    generator: str = "morph"
    """As `DubOptions.generator`."""
    device: str = "cpu"
    """Torch device of the face models."""
    generator_options: Mapping[str, str] = field(default_factory=dict)
    """As `DubOptions.generator_options`."""
    streams: int = max(1, min(4, os.cpu_count() or 1))
    """Requests that are worked on at once."""
    queue: int = 8
    """Requests that may wait for their turn; more are answered RESOURCE_EXHAUSTED."""
    max_message: int = 16 << 20
    """Bytes of one message; the public client sends 64 KiB."""
    max_upload: int = 8 << 30
    """Bytes of one file. Of a video that is streamed only what was not read yet counts."""
    idle: float = 60.0
    """Seconds without a message, while something is awaited, after which a request is given up."""
    total: float = 6 * 3600.0
    """Seconds after which a request is given up in any case."""
    keepalive: float = 2.0
    """Seconds without a piece of the result after which a keepalive is sent."""
    grace: float = 30.0
    """Seconds that what runs has to finish after SIGTERM."""
    temp: Path | None = None
    """Folder for temporary files; None = the system's."""
    certificate: Path | None = None
    """PEM chain of the server: TLS."""
    key: Path | None = None
    """PEM key of the certificate."""
    client_ca: Path | None = None
    """PEM root of clients' certificates: mutual TLS."""

    def check(self) -> None:
        """Raise `LipSyncError` for values that can't be."""
        for name in ("port", "http_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise LipSyncError(f"{getattr(self, name)} is no port: use 1 to 65535, or 0 for any free one.")
        for name, least in (("streams", 1), ("queue", 0), ("max_message", 65536), ("max_upload", 1)):
            if getattr(self, name) < least:
                raise LipSyncError(f"{name.replace('_', '-')} must be {least} or more, not {getattr(self, name)}.")
        for name in ("idle", "total", "keepalive", "grace"):
            if not getattr(self, name) > 0:
                raise LipSyncError(f"{name} must be some seconds, not {getattr(self, name):g}.")
        if (self.certificate is None) != (self.key is None):
            raise LipSyncError("TLS needs both a certificate and its key: give --tls-cert and --tls-key.")
        if self.client_ca is not None and self.certificate is None:
            raise LipSyncError("Mutual TLS needs the server's own certificate, too: give --tls-cert and --tls-key.")
        for name in ("certificate", "key", "client_ca"):
            file = getattr(self, name)
            if file is not None and not file.is_file():
                raise LipSyncError(f"There is no file {file}: check the name.")
