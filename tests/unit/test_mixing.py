"""Several sounds as one: levels, places, loops, fades, ducking, and no clipping."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lipsync_core.audio.mixing import Layer, Mix, duck_curve
from lipsync_core.errors import MediaError
from lipsync_core.types import AudioOriginal


def tone(hertz: float, level: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def given(samples: np.ndarray, rate: int = 16_000, **part: float) -> AudioOriginal:
    return AudioOriginal(waveform=np.atleast_2d(samples), sample_rate=rate, **part)


def level(samples: np.ndarray, hertz: float, rate: int) -> float:
    """Of one tone in the sound."""
    wave = np.exp(-2j * np.pi * hertz * np.arange(samples.shape[-1]) / rate)
    return float(2 * np.abs((samples * wave).mean()))


def read(mix: Mix) -> np.ndarray:
    return np.concatenate(list(mix.blocks()), 1)


def test_levels_are_kept() -> None:
    mix = Mix([Layer(given(tone(400, 0.3, 2))), Layer(given(tone(1000, 0.4, 2)), volume=0.5)], 2.0)
    sound = read(mix)
    assert sound.shape == (1, 32_000) and mix.sample_rate == 16_000 and not mix.limited
    assert abs(level(sound[0], 400, 16_000) - 0.3) < 0.003 and abs(level(sound[0], 1000, 16_000) - 0.2) < 0.003
    assert (read(mix) == sound).all()                                 # as often as wanted


def test_each_begins_where_it_should() -> None:
    click = np.zeros(16_000, np.float32)
    click[1000] = 0.5
    for offset, where in ((0.0, 1000), (0.25, 5000), (-0.05, 200), (1.0, 17_000)):
        sound = read(Mix([Layer(given(click), offset)], 2.0))
        assert np.flatnonzero(sound[0]).tolist() == [where]
    part = read(Mix([Layer(given(click, start=0.0, duration=0.05))], 1.0))
    assert not part.any()                                             # what lies after the part is no part of it


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_rates_meet(rate: int) -> None:
    """A burst of each, half a second in, at the same moment to a tenth of a millisecond."""
    burst = np.concatenate([np.zeros(rate // 2, np.float32), tone(500, 0.4, 0.2, rate), np.zeros(rate // 2, np.float32)])
    mix = Mix([Layer(given(burst, rate)), Layer(given(np.zeros(100, np.float32), 48_000))], 1.0)
    sound = read(mix)[0]
    assert mix.sample_rate == 48_000 and len(sound) == 48_000
    middle = (np.arange(len(sound)) * np.square(sound)).sum() / np.square(sound).sum()
    assert abs(middle / 48_000 - 0.6) < 0.0005


def test_stereo_stays_stereo_and_surround_becomes_it(tmp_path: Path) -> None:
    pair = np.stack([tone(400, 0.3, 1), tone(900, 0.2, 1)])
    mix = Mix([Layer(given(pair)), Layer(given(tone(2000, 0.1, 1)))], 1.0)
    left, right = read(mix)
    assert level(left, 400, 16_000) > 0.29 and level(left, 900, 16_000) < 0.01 < 0.19 < level(right, 900, 16_000)
    assert abs(level(left, 2000, 16_000) - 0.1) < 0.01 > abs(level(right, 2000, 16_000) - 0.1)        # a voice in the middle
    six = np.zeros((16_000, 6), np.float32)
    six[:, 2] = tone(700, 0.5, 1)                                     # the centre
    soundfile.write(tmp_path / "surround.wav", six, 16_000)
    both = read(Mix([Layer(AudioOriginal(path=tmp_path / "surround.wav"))], 1.0))
    assert both.shape == (2, 16_000) and abs(level(both[0], 700, 16_000) - 0.3535) < 0.01
    for channels, centre in ((3, 0.3535), (4, 0.125), (5, 0.3535), (7, 0.3535), (8, 0.3535)):        # four are in no order one could know
        wide = np.zeros((channels, 1600), np.float32)
        wide[2] = tone(700, 0.5, 0.1)
        assert abs(level(read(Mix([Layer(given(wide))], 0.1))[1], 700, 16_000) - centre) < 0.01


def test_nothing_clips_and_what_is_quiet_stays_as_it_is() -> None:
    quiet, loud = tone(300, 0.4, 1), tone(300, 0.9, 1)
    both = np.concatenate([quiet, loud, quiet])
    mix = Mix([Layer(given(both)), Layer(given(both))], 3.0)
    sound = read(mix)[0]
    assert mix.limited and np.abs(sound).max() < 0.9901
    assert np.abs(sound[18_000:30_000]).max() > 0.97                  # and is not made quieter than it must be
    assert (sound[:15_000] == 2 * both[:15_000]).all() and (sound[40_000:] == 2 * both[40_000:]).all()
    envelope = np.abs(sound[15_000:17_000]).reshape(-1, 50).max(1)
    assert (np.diff(envelope) > -0.2).all()                           # it looks ahead, so that there is no jump


def test_a_background_is_begun_again_and_fades_at_the_ends() -> None:
    short = tone(500, 0.4, 0.5)
    looped = read(Mix([Layer(given(short), loop=True, fade=0.2)], 3.0))[0]
    once = read(Mix([Layer(given(short), fade=0.2)], 3.0))[0]
    assert level(looped[24_000:32_000], 500, 16_000) > 0.35 and not once[9000:].any()
    assert abs(looped[0]) < 0.01 and np.abs(looped[:400]).max() < 0.06 and np.abs(looped[-400:]).max() < 0.06
    assert np.abs(np.diff(looped)).max() < 0.1                        # no click where it begins again
    assert not read(Mix([Layer(given(np.zeros((1, 0), np.float32)), loop=True)], 0.5)).any()


@pytest.mark.parametrize(("offset", "joint"), [(0.0, 8000), (-0.3, 3200), (-0.7, 8000)])
def test_no_click_where_it_begins_again(offset: float, joint: int) -> None:
    """A sound that ends at its loudest; its beginning may be cut, or all of its first time."""
    sound = read(Mix([Layer(given(np.full(8000, 0.4, np.float32)), offset, loop=True)], 1.6))[0]
    assert np.abs(np.diff(sound)).max() < 0.005 and sound[joint - 5:joint + 5].max() < 0.01
    assert (sound[joint - 2000:joint - 400] == np.float32(0.4)).all()


def test_it_is_lower_while_somebody_speaks(babble: np.ndarray) -> None:
    """`babble`: half a second of silence, then syllables."""
    speech = np.concatenate([np.zeros(16_000, np.float32), babble, np.zeros(32_000, np.float32)])
    curve = duck_curve([speech], len(speech) / 16_000)
    assert curve[:80].max() == 0 and curve[200:300].min() > 0.95 and curve[-60:].max() == 0 and np.abs(np.diff(curve)).max() < 0.06
    mix = Mix([Layer(given(tone(500, 0.4, 6)), ducked=True), Layer(given(tone(500, 0.0, 6)))], 6.0, duck=curve)
    sound = read(mix)[0]
    ratio = level(sound[33_000:40_000], 500, 16_000) / level(sound[:8000], 500, 16_000)
    assert abs(20 * np.log10(ratio) + 12) < 0.5
    assert duck_curve([], 1.0).max() == 0 and duck_curve([speech[:100]], 1.0).max() == 0


def test_a_long_sound_is_never_in_memory_whole(tmp_path: Path) -> None:
    """Ten minutes in stereo are 38 MB."""
    with soundfile.SoundFile(str(tmp_path / "long.flac"), "w", 8_000, 2) as file:
        for _ in range(10):
            file.write(np.zeros((8_000 * 60, 2), np.float32))
    mix = Mix([Layer(AudioOriginal(path=tmp_path / "long.flac"), loop=True)], 610.0)
    tracemalloc.start()
    count = sum(block.shape[1] for block in mix.blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 610 * 8_000 and peak < 8 << 20


def test_a_file_without_sound_is_said_at_once(tmp_path: Path, empty_clip: Path) -> None:
    (tmp_path / "text.wav").write_text("this is no sound")
    for file, says in ((tmp_path / "none.wav", "no file"), (tmp_path / "text.wav", "can't be read"), (empty_clip, "no sound track")):
        with pytest.raises(MediaError, match=says):
            Mix([Layer(AudioOriginal(path=file))], 1.0)
