"""`--bypass`: passages in which the source's own mouth shows, bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from helpers import pictures

from lipsync_core import DubOptions, Encoding, dub
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.passages import RAMP, effect, read_passages

LOSSLESS = DubOptions(encoding=Encoding(lossless=True, preset="ultrafast"), silence="generate")


def changed(one: Path, other: Path) -> np.ndarray:
    """How much each frame differs, in levels."""
    return np.abs(pictures(one) - pictures(other)).mean((1, 2, 3))


def test_passages_are_written_as_people_write_them() -> None:
    assert read_passages("3.5-6.0,10-12") == ((3.5, 6.0), (10.0, 12.0)) == read_passages(" 10 - 12, 3.5-6 ")
    assert read_passages("-2") == ((0.0, 2.0),) and read_passages("10-") == ((10.0, math.inf),) and read_passages("") == ()


@pytest.mark.parametrize("text", ["3", "-", "a-b", "3:00-4:00", "6-3", "2-2", "1-2-3", "1e3-2e3"])
def test_what_is_no_passage_is_one_sentence(text: str) -> None:
    with pytest.raises(LipSyncError, match="passage") as error:
        read_passages(text)
    assert "\n" not in str(error.value)


def test_the_effect_is_gone_before_and_comes_back_after() -> None:
    times = np.arange(0, 5, 0.04)
    shown = effect(times, ((1.0, 2.0), (4.0, math.inf)))
    assert (shown[(times >= 1) & (times <= 2)] == 0).all() and (shown[times >= 4] == 0).all()
    assert (shown[(times < 1 - RAMP) | ((times > 2 + RAMP) & (times < 4 - RAMP))] == 1).all()
    assert np.abs(np.diff(shown)).max() < 0.35


def test_a_passage_is_the_sources_own(face_clip: Path, babble_file: Path, tmp_path: Path) -> None:
    """From 0.8 to 1.4 s the samples are the source's, away from it they are those of a dub without a passage."""
    plain, passed = tmp_path / "plain.mp4", tmp_path / "passed.mp4"
    dub(face_clip, babble_file, plain, LOSSLESS)
    report = dub(face_clip, babble_file, passed, LOSSLESS, bypass=[(0.8, 1.4)])
    times = np.arange(report.frames) / 25
    within, far = (times >= 0.8) & (times <= 1.4), (times < 0.8 - RAMP - 0.01) | (times > 1.4 + RAMP + 0.01)
    assert (changed(face_clip, passed)[within] == 0).all() and (changed(plain, passed)[far] < 0.01).all()
    assert (changed(face_clip, passed)[far] > 0).mean() > 0.7 and report.passed >= within.sum()


def test_by_command_in_seconds_of_the_video(face_clip: Path, babble_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The first 0.4 s are skipped, yet the passage is where the video's own clock says."""
    source, result = tmp_path / "source.mp4", tmp_path / "result.mp4"
    command = ["dub", str(face_clip), str(babble_file), "--start", "0.4", "--lossless", "--preset", "ultrafast", "--silence", "generate",
               "--quiet"]
    assert main([*command, "--bypass", "0-", "-o", str(source)]) == 0            # nothing is dubbed: the source, cut
    assert "0 dubbed" in capsys.readouterr().out
    assert main([*command, "--bypass", "1.2-", "-o", str(result)]) == 0
    difference = changed(source, result)
    times = 0.4 + np.arange(len(difference)) / 25
    assert (difference[times >= 1.2] == 0).all() and (difference[times < 0.95] > 0).mean() > 0.7
    assert main([*command, "--bypass", "2-1", "-o", str(tmp_path / "none.mp4")]) == 1
    assert "passage" in capsys.readouterr().err and not (tmp_path / "none.mp4").exists()
