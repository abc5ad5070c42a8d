"""The work of one request, in either of two ways: as the files come, or once they are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from ..audio import sound_blocks
from ..audio.mixing import Layer, Mix
from ..dubbing import dub
from ..errors import LipSyncError
from ..live import LiveDubber, LiveFrame
from ..media import PipeWriter, StreamSource
from ..options import DubOptions, Soundtrack
from ..provenance.mark import Mark
from ..threads import Background, Prefetch
from ..types import AudioOriginal, Hooks
from .heads import streams
from .spool import Spool, UploadError, stored
from .upload import Upload
from .wishes import Wishes

PIECE = 64 << 10
"""Bytes of a result that are sent at a time, as the public client sends its own."""
QUEUE = 2
"""Frames between the decoder, the dubber and the encoder."""
ENDLESS = 1e7
"""Seconds that a mix may last whose end nobody knows yet."""


@dataclass
class Done:
    """Figures of a job for the log and the metrics."""

    way: str = ""
    frames: int = 0
    dubbed: int = 0
    seconds: float = 0.0
    """Of the result."""


def run(upload: Upload, wishes: Wishes, options: DubOptions, folder: Path, send: Callable[[bytes], None], hooks: Hooks) -> Done:
    """Dub what is uploaded, and send the MP4. Raises `LipSyncError` (`UploadError`) and `spool.Stopped`."""
    try:
        return _run(upload, wishes, options, folder, send, hooks)
    except LipSyncError:
        upload.flow.check()                                           # a file that ends because its request did is not broken
        raise


def _run(upload: Upload, wishes: Wishes, options: DubOptions, folder: Path, send: Callable[[bytes], None], hooks: Hooks) -> Done:
    options = replace(options, encoding=wishes.encoding, smoothing=wishes.smoothing)
    for spool in (upload.video, upload.audio):
        if not spool.wait_for(1):
            raise UploadError(f"No {spool.name} came: send it as {spool.name}_file_data.")
    sounds = [upload.audio, *([upload.background] if wishes.background else [])]
    if not wishes.whole() and all(streams(spool.head) for spool in (upload.video, *sounds)):
        return stream(upload, wishes, options, send, hooks)
    return whole(upload, wishes, options, folder, send, hooks)


def whole(upload: Upload, wishes: Wishes, options: DubOptions, folder: Path, send: Callable[[bytes], None], hooks: Hooks) -> Done:
    """Receive everything first; then as from file to file."""
    video, audio = stored(upload.video, folder / "video"), stored(upload.audio, folder / "audio")
    background = stored(upload.background, folder / "background") if wishes.background else None
    if background is not None and not background.stat().st_size:
        raise UploadError("The config says that a background is provided, and none came: send it as background_audio_file_data.")
    options = replace(options, extend_audio=wishes.extend_audio, extend_video=wishes.extend_video,
                      speakers=upload.all_speakers() if wishes.speakers else None,
                      soundtrack=Soundtrack(background=background, background_volume=wishes.volume))
    result = folder / "result.mp4"
    report = dub(video, audio, result, options, hooks=hooks)
    with open(result, "rb") as file:
        while piece := file.read(PIECE):
            send(piece)
    return Done("whole", report.frames, report.dubbed, report.seconds)


class _Ear:
    """Reads the speech as it comes, as far as it is wanted."""

    def __init__(self, speech: Spool, live: LiveDubber) -> None:
        self._blocks, self._live = sound_blocks(speech), live
        self.seconds, self.ended = Fraction(0), False

    def hear(self, until: Fraction) -> None:
        while self.seconds < until and not self.ended:
            block, rate = next(self._blocks, (None, 0))
            if block is None:
                self.ended = True
                self._live.end_audio()
                return
            self._live.push_audio(block.T, rate)
            self.seconds += Fraction(len(block), rate)


def stream(upload: Upload, wishes: Wishes, options: DubOptions, send: Callable[[bytes], None], hooks: Hooks) -> Done:
    """Work on frames as they come; the result's pieces go out meanwhile."""
    upload.video.rolling = upload.video.endless = True
    done = Done("stream")
    layers = [Layer(AudioOriginal(path=upload.audio))]
    if wishes.background:
        layers.append(Layer(AudioOriginal(path=upload.background), volume=wishes.volume, loop=True))
    reader = upload.video.again()
    with StreamSource(reader) as source, \
            LiveDubber(options, rotation=source.info.rotation, hooks=hooks) as live, \
            PipeWriter(send, source.info, options.encoding, audio=Mix(layers, ENDLESS), mark=Mark(), warn=hooks.warn) as writer, \
            Background(lambda item: writer.write(*item), QUEUE) as encode, Prefetch(source.frames(), QUEUE) as frames:
        ear, frame_time = _Ear(upload.audio, live), 1 / source.info.frame_rate

        def write(made: Iterator[LiveFrame]) -> None:
            for out in made:
                hooks.check_interrupt()
                encode.put((out.frame, round(out.time / source.info.time_base)))
                done.frames += 1
                done.dubbed += out.dubbed
                done.seconds = float(out.time + frame_time)
                hooks.progress("stream", done.frames, 0)

        try:
            for item in frames:
                hooks.check_interrupt()
                ear.hear(item.time + frame_time)
                if ear.ended and item.time >= ear.seconds and wishes.extend_audio == "off":
                    break
                live.push_frame(item.frame, item.time, upload.speakers_at(item.index) if wishes.speakers else None)
                write(live.pull())
        finally:
            reader.close()                                            # the decoder's thread may wait for more
        upload.flow.check()
        if not done.frames and not ear.seconds:
            raise UploadError("The audio holds no sound: send a recording with speech in it.")
        write(live.flush())
    return done
