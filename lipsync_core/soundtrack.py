"""What is heard in the result: the recording as it is, or a mix of voices and background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from .audio.mixing import Layer, Mix, duck_curve
from .casting import Line
from .errors import MediaError
from .media import VideoInfo
from .media.audio_mux import own_sound
from .options import SOURCE, DubOptions
from .types import AudioOriginal, Hooks, SoundBlocks

FADE = 0.5
"""Seconds over which a background comes in and goes out at the ends of the result."""


@dataclass
class Sound:
    """The sound of a result whose length is not known yet."""

    lines: Sequence[Line]
    layers: list[Layer]
    """Everything that is mixed; one layer that is only to be copied needs no mix."""
    original: AudioOriginal | None
    """The video's own sound, to be kept beside it."""
    plain: bool
    """Whether the one layer is the sound as it is."""
    ducked: bool = False
    _mix: Mix | None = field(default=None, init=False)

    def track(self, seconds: float) -> AudioOriginal | SoundBlocks | None:
        """What to mux under `seconds` of picture; None where there is nothing to hear."""
        if not self.layers:
            return None
        if self.plain:
            return self.layers[0].original
        duck = duck_curve([line.speech.samples for line in self.lines], seconds) if self.ducked else None
        self._mix = Mix(self.layers, seconds, duck=duck)
        return self._mix

    def tell(self, hooks: Hooks) -> None:
        """What is worth a line once all was heard."""
        if self._mix is not None and self._mix.limited:
            hooks.warn("The mix of all sounds was too loud in places: a limiter took its peaks down.")


def sound_of(video: Path | BinaryIO, lines: Sequence[Line], options: DubOptions, info: VideoInfo) -> Sound:
    """The sound of a dub. Raises `MediaError` where a file of it can't be heard."""
    wanted = options.soundtrack
    own = AudioOriginal(path=video, start=options.start, duration=options.duration) if not info.still else None
    background = _background(own, options)
    if wanted.file is not None:
        voices = [Layer(AudioOriginal(path=Path(wanted.file)))]
    else:
        voices = [Layer(line.speech.original, line.offset) for line in lines if line.speech.original is not None]
    layers = voices + ([background] if background else [])
    plain = len(layers) == 1 and not background and not layers[0].offset and options.extend_audio == "off" \
        and (not options.voices or wanted.file is not None)
    if wanted.keep_original and own is None:
        raise MediaError("A photo has no sound that could be kept: leave out keep-original-sound.")
    return Sound(lines, layers, own if wanted.keep_original else None, plain, wanted.duck and background is not None)


def _background(own: AudioOriginal | None, options: DubOptions) -> Layer | None:
    wanted = options.soundtrack
    if wanted.background is None:
        return None
    if wanted.background == SOURCE:
        if own is None:
            raise MediaError("A photo has no sound of its own: give a file as the background.")
        original, delay = own_sound(own)                              # where it lies against the picture
        return Layer(original, float(delay), volume=wanted.background_volume, fade=FADE, ducked=wanted.duck)
    return Layer(AudioOriginal(path=Path(wanted.background)), volume=wanted.background_volume, loop=wanted.loop, fade=FADE,
                 ducked=wanted.duck)
