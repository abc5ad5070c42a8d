"""More people to learn faces from: a still that morph makes speak."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("webdataset", reason="training needs what `make test` installs: pip install -r requirements-train.txt")

from lipsync_core.demo import SPEECH  # noqa: E402
from lipsync_core.errors import MediaError  # noqa: E402
from lipsync_core.training.lipsyncnet.__main__ import main  # noqa: E402
from lipsync_core.training.lipsyncnet.supplement import SIDE, supplement  # noqa: E402


def test_a_still_speaks(tmp_path: Path, astronaut: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    cv2.imwrite(str(stills / "eileen.png"), astronaut[..., ::-1])
    cv2.imwrite(str(stills / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    command = ["supplement", str(stills), "--speech", str(SPEECH), "-o", str(tmp_path / "made"), "--seconds", "1"]
    assert main(command) == 0 and capsys.readouterr().out.startswith("1 clips")
    clip = tmp_path / "made" / "eileen.mp4"
    with av.open(str(clip)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.audio and len(pictures) == 25 and pictures[0].shape == (SIDE, SIDE, 3)
    assert main(command) == 0 and capsys.readouterr().out.startswith("0 clips")       # what is there stays
    with pytest.raises(MediaError, match="nothing to use"):
        supplement([stills], [tmp_path / "made" / "none"], tmp_path / "other")
