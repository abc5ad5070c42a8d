"""How good the dubs are: the built-in generator beside its first version, on people that nothing was taught on.

    python benchmarks/quality.py MEDIA --landmarks labels/bin/python [--work FOLDER] [--json FILE]

MEDIA is a folder with `talking/` and `audio/`. Every clip is dubbed losslessly by each generator, once with its own sound (the
truth is then the clip itself) and once with a foreign recording that has pauses; `python -m lipsync_core evaluate` explains the
measures. Prints medians over the clips, and each clip's row as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core import DubOptions, Encoding, dub  # noqa: E402
from lipsync_core.audio import load_speech  # noqa: E402
from lipsync_core.evaluation import evaluate_several  # noqa: E402

CLIPS = ("testonly_dfrf_cnn2", "testonly_wda_BobMenendez", "testonly_wda_AlexandriaOcasioCortez", "testonly_wda_EdMarkey0",
         "testonly_wda_KatieHill", "latentsync_demo3", "grid_pwij3p", "grid_sbia1a", "grid_swiz3n")
"""The people held out of every training."""
FOREIGN = ("deyu.wav", "fayu.wav", "eluosi.wav", "japanese.wav", "chinese_news.wav")
OWN_KEYS = ("best_correlation", "spoken_correlation", "lag_ms", "width_correlation", "range", "lip_distance", "closure_recall",
            "closure_precision", "closure", "closure_truth")
FOREIGN_KEYS = ("leak", "leak_truth", "leftover", "sharpness", "seam", "colour", "flicker", "outside_equal")


def pausing(speech: Path, target: Path, seconds: float) -> Path:
    """`speech` with a second of silence before it and after every 2.5 s."""
    samples = load_speech(speech).samples
    quiet = np.zeros(16_000, np.float32)
    parts = [quiet]
    for first in range(0, len(samples), 40_000):
        parts += [samples[first:first + 40_000], quiet]
    soundfile.write(target, np.concatenate(parts)[:int(seconds * 16_000)], 16_000)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--landmarks", default="builtin", help="see `python -m lipsync_core evaluate --help`")
    parser.add_argument("--generators", nargs="+", default=["morph-bands", "morph"], help="built-in ones by name, or checkpoint files")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each clip")
    parser.add_argument("--work", type=Path, help="keep the dubs here")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        work = chosen.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(CLIPS):
            clip = next((chosen.media / "talking").glob(f"{name}.*"))
            foreign = pausing(chosen.media / "audio" / FOREIGN[number % len(FOREIGN)], work / f"{name}.wav", chosen.seconds)
            for protocol, audio in (("own", clip), ("foreign", foreign)):
                files = []
                for generator in chosen.generators:
                    files.append(work / f"{name}_{protocol}_{Path(generator).stem}.mkv")
                    dub(clip, audio, files[-1], DubOptions(generator=generator, duration=chosen.seconds,
                                                           encoding=Encoding(lossless=True, preset="ultrafast")))
                found = evaluate_several(files, clip, clip if protocol == "own" else None, audio, chosen.landmarks)
                for generator, item in zip(chosen.generators, found):
                    rows.append({"clip": name, "protocol": protocol, "generator": generator, **item.measures})
                    short = {k: round(v, 2) for k, v in item.measures.items() if v is not None}
                    sys.stderr.write(f"{name} {protocol} {generator}: {short}\n")
    for protocol, keys in (("own", OWN_KEYS), ("foreign", FOREIGN_KEYS)):
        sys.stdout.write(f"{protocol + ' sound, median of ' + str(len(CLIPS)) + ' clips':36s}"
                         + "".join(f"{Path(g).stem:>14s}" for g in chosen.generators) + "\n")
        for key in keys:
            sys.stdout.write(f"  {key:34s}")
            for generator in chosen.generators:
                values = [abs(r[key]) if key == "leftover" else r[key] for r in rows
                          if r["protocol"] == protocol and r["generator"] == generator and r.get(key) is not None]
                sys.stdout.write(f"{np.median(values):14.3f}" if values else f"{'-':>14s}")
            sys.stdout.write("\n")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
