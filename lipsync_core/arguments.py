"""What several subcommands take."""

from __future__ import annotations

import argparse


def common_parent() -> argparse.ArgumentParser:
    """What every subcommand takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and logs")
    common.add_argument("--quiet", action="store_true", help="no progress bar")
    return common


def faces_parent() -> argparse.ArgumentParser:
    """What those take that look for faces in a video."""
    faces = argparse.ArgumentParser(add_help=False)
    faces.add_argument("--backend", default="builtin", choices=("builtin", "face-alignment"),
                       help="face models: 'builtin' (default), or 'face-alignment' for hard footage (that package downloads its "
                            "weights on first use)")
    faces.add_argument("--device", default="cpu", help="torch device of the face models, for example cuda or mps (default cpu)")
    faces.add_argument("--start", type=float, default=0.0, metavar="SEC", help="skip this much of the video")
    faces.add_argument("--duration", type=float, metavar="SEC", help="use only this much of the video")
    return faces
