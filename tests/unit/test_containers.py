"""Checkpoint files that are no checkpoints: what fuzzing found, as whole kinds."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from lipsync_core.errors import CheckpointError
from lipsync_core.generators.containers import tensor_shapes


def archive(file: Path, code: bytes) -> Path:
    """A zip file that looks like a TorchScript archive."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/constants.pkl", b"\x80\x02N.")
        made.writestr("a/code/x.py", code)
    return file


def test_an_archive_whose_compressed_part_is_damaged_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.pt", bytes(range(256)) * 40)
    data = bytearray(file.read_bytes())
    begin = data.index(b"a/code/x.py") + len("a/code/x.py")
    data[begin:begin + 200] = b"\xff" * 200
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        tensor_shapes(file)


def test_an_archive_that_says_it_unpacks_to_gigabytes_is_not_unpacked(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.pt", b"pass")
    data = bytearray(file.read_bytes())
    entry = data.rindex(b"PK\x01\x02")                                # the central directory's last entry: the size is at 24
    data[entry + 24:entry + 28] = struct.pack("<I", 3 << 30)
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="can't be read as a checkpoint"):
        tensor_shapes(file)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "b/" * 4000 + "c"])
def test_a_name_that_can_be_no_file_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError):
        tensor_shapes(name)
