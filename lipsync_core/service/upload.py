"""What a client sends, put where it belongs while it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..speaker_file import FrameSpeakers
from .spool import BACKLOG, Flow, Spool, UploadError
from .wishes import speakers_of

MOST_FRAMES = 10_000_000
"""Frames of speaker data: two days."""


class Upload:
    """One request's inputs. `receive` runs in a thread of its own; everything else waits for it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.flow = Flow()
        self.video, self.audio, self.background = (Spool(self.flow, folder, name, limit) for name in ("video", "audio", "background"))
        self.config: Any = None
        self.last_message = time.monotonic()
        self._speakers: dict[int, FrameSpeakers] = {}
        self._given = 0
        """Frames of speaker data so far."""
        self._ended = False

    def receive(self, requests: Iterator[Any]) -> None:
        """Take all that comes, until the client has sent everything or nobody wants more."""
        try:
            for request in requests:
                self.last_message = time.monotonic()
                if self.flow.stopped or self.flow.error is not None:
                    return
                self._take(request)
                self._hold_back()
                self.last_message = time.monotonic()
            if self.config is None:
                raise UploadError("The client sent no config: the first message must be one.")
            self.finish()
        except UploadError as error:
            self.flow.fail(error)
        except Exception:  # noqa: BLE001 - whatever gRPC raises where the client has gone
            self.flow.stop()

    def finish(self) -> None:
        """All was sent."""
        for spool in (self.video, self.audio, self.background):
            spool.end()
        with self.flow.changed:
            self._ended = True
            self.flow.changed.notify_all()

    def _take(self, request: Any) -> None:
        kind = request.WhichOneof("lipsync_request")
        if kind == "config":
            if self.config is not None:
                raise UploadError("The client sent a second config: one begins a request.")
            with self.flow.changed:
                self.config = request.config
                self.flow.changed.notify_all()
        elif kind == "input":
            if self.config is None:
                raise UploadError("The client sent data before a config: the first message must be the config.")
            data = request.input
            for spool, piece in ((self.video, data.video_file_data), (self.audio, data.audio_file_data),
                                 (self.background, data.background_audio_file_data)):
                if piece:
                    spool.write(piece)
            if data.per_frame_speaker_infos:
                self._take_speakers(data.per_frame_speaker_infos)
        else:
            raise UploadError("The client sent a message that holds neither a config nor input: is it of this interface's version?")

    def _take_speakers(self, entries: Any) -> None:
        with self.flow.changed:
            for entry in entries:
                # Clients that leave the number out send them in order.
                frame = entry.frame_id if entry.frame_id or not self._given else self._given
                if frame >= MOST_FRAMES:
                    raise UploadError(f"Speaker data of frame {frame} are more than this server takes.")
                self._speakers[frame] = speakers_of(entry)
                self._given = max(self._given, frame + 1)
            self.flow.changed.notify_all()

    def _hold_back(self) -> None:
        """Let the sender wait while what is there already has not been read, unless a reader waits for something else."""
        with self.flow.changed:
            while self.video.backlog > BACKLOG and not self.flow.waiting and not self.flow.stopped and self.flow.error is None:
                self.flow.changed.wait(0.5)

    def wait_config(self) -> Any:
        """The config, once it has come."""
        with self.flow.changed:
            self.flow.check()
            while self.config is None:
                self.flow.wait()
            return self.config

    def speakers_at(self, frame: int) -> FrameSpeakers | None:
        """What is said of a frame, once it has come; None where nothing is. Earlier ones are forgotten."""
        with self.flow.changed:
            self.flow.check()
            while frame >= self._given and not self._ended:
                self.flow.wait()
            self._speakers.pop(frame - 1, None)
            return self._speakers.get(frame)

    def all_speakers(self) -> list[FrameSpeakers]:
        """Of every frame, once all have come."""
        with self.flow.changed:
            while not self._ended:
                self.flow.wait()
            return [self._speakers.get(frame, FrameSpeakers()) for frame in range(self._given)]
