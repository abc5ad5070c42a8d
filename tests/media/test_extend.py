"""Pictures that last as long as the speech: talking photos, and a last frame that is held."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from helpers import pictures

from lipsync_core import DubOptions, Encoding, dub
from lipsync_core.cli import main
from lipsync_core.errors import LipSyncError
from lipsync_core.media import FrameView, HeldSource, VideoSource
from lipsync_core.types import Hooks

LOSSLESS = DubOptions(encoding=Encoding(lossless=True, preset="ultrafast"), silence="generate")
SECONDS = 3.0
"""Of speech; `face_clip` has two."""


def write_photo(file: Path, image: np.ndarray) -> Path:
    done, data = cv2.imencode(file.suffix, image[:, :, ::-1])
    assert done
    file.write_bytes(data.tobytes())
    return file


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_photo_talks(name: str, astronaut: np.ndarray, babble_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As long as the speech, in a format that every player shows, in its own colours, and nothing but the face moves."""
    image = astronaut[:301, 60:381]                                   # odd sides
    photo, result = write_photo(tmp_path / name, image), tmp_path / "talking.mp4"
    assert main(["dub", str(photo), str(babble_file), "-o", str(result), "--preset", "ultrafast", "--crf", "8"]) == 0
    said = capsys.readouterr()
    assert "75 frames, 75 dubbed" in said.out and "shorter" not in said.err
    source = VideoSource(result)
    assert (source.info.pix_fmt, source.size, source.frame_rate) == ("yuv420p", (320, 300), 25)
    shown = pictures(result)
    assert np.abs(shown[:, :40] - image[:40, :320]).mean() < 4                         # the sky above her
    mouth, above = shown[:, 130:200, 130:220], shown[:, :40]
    assert np.abs(np.diff(mouth, axis=0)).mean((1, 2, 3)).max() > 5 * np.abs(np.diff(above, axis=0)).mean((1, 2, 3)).max()


def test_frames_a_second_of_a_photo(astronaut: np.ndarray, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.png", astronaut[:64, :64])
    held = HeldSource(photo, 2.0, fps=29.97)
    frames = list(held.frames())
    assert held.frame_rate == Fraction(30_000, 1001) and len(frames) == held.frame_count == 60
    assert [item.time for item in frames] == [i * Fraction(1001, 30_000) for i in range(60)]
    with pytest.raises(LipSyncError, match="1 to 240"):
        DubOptions(fps=0).check()


def test_the_last_frame_is_held(face_clip: Path, babble_file: Path, tmp_path: Path) -> None:
    result = tmp_path / "held.mp4"
    report = dub(face_clip, babble_file, result, LOSSLESS, extend_video="hold")
    assert report.frames == report.dubbed == 75 and report.seconds == SECONDS and not report.warnings
    source, shown = pictures(face_clip), pictures(result)
    assert (shown[:, :60] == source[np.minimum(np.arange(75), 49), :60]).all()          # above the face, the source's own
    assert np.abs(np.diff(shown[50:], axis=0)).max() > 20                              # and she goes on talking
    assert [item.time for item in VideoSource(result).frames()] == [Fraction(i, 25) for i in range(75)]


def test_each_held_frame_is_painted_on_the_source_and_not_on_the_last_one(face_clip: Path, astronaut: np.ndarray, tmp_path: Path) -> None:
    """A mouth that is shut all the time is the same in all of them, once it has come to rest."""
    soundfile.write(tmp_path / "still.wav", np.zeros(round(16_000 * SECONDS), np.float32), 16_000)
    photo = write_photo(tmp_path / "photo.png", astronaut[:300, 60:380])
    for source in (face_clip, photo):
        result = tmp_path / f"{source.stem}.mp4"
        report = dub(source, tmp_path / "still.wav", result, LOSSLESS, extend_video="hold", silence="close")
        shown = pictures(result)[60:]
        assert report.dubbed == 75 and np.abs(shown - shown[0]).mean() < 0.015, source


def test_a_part_is_held_from_where_it_ends(face_clip: Path) -> None:
    part = HeldSource(face_clip, 1.0, start=0.4, duration=0.4)
    frames = list(part.frames())
    shown = [FrameView(item.frame).region((0, 0, 320, 320)) for item in frames]
    assert len(frames) == part.frame_count == 25 and (np.stack(shown[9:]) == shown[9]).all() and (shown[8] != shown[9]).any()
    assert len(list(HeldSource(face_clip, 0.5).frames())) == 50                         # what is longer already stays as it is


def test_the_default_ends_with_the_picture_and_names_the_way_out(face_clip: Path, babble_file: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = dub(face_clip, babble_file, tmp_path / "short.mp4", LOSSLESS, hooks=Hooks(warn=said.append), strength=0)
    assert report.frames == 50 and len(said) == 1 and "extend-video hold" in said[0]
    with pytest.raises(LipSyncError, match="off, hold, forward, bounce"):
        DubOptions(extend_video="loop").check()
