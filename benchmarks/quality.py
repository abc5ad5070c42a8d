"""How good the dubs are: the built-in generator beside its first version, on people that nothing was taught on.

    python benchmarks/quality.py MEDIA --landmarks labels/bin/python [--protocols own foreign shifted] [--clips NAME ...]
                                 [--work FOLDER] [--json FILE]

MEDIA is a folder with `talking/` and `audio/`. Every clip is dubbed losslessly by each generator: with its own sound (the truth is
then the clip itself), with a foreign recording that has pauses, and 'shifted': its second half with the sound of its first, whose
lips are the truth while the second half's own are what may be left over. A dub with the own sound flatters, since all that was never
redrawn is right in it; the shifted one is the honest one. `python -m lipsync_core evaluate` explains the measures, and
`lipsync_core/evaluation/shifted_measures.py` the shifted ones. Prints medians over the clips, and each clip's row as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from live import dub_live

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core import DubOptions, Encoding, dub  # noqa: E402
from lipsync_core.audio import load_speech  # noqa: E402
from lipsync_core.evaluation import evaluate_several  # noqa: E402
from lipsync_core.evaluation.container import timing_of  # noqa: E402
from lipsync_core.evaluation.curves import Curves, corner_distance, resample  # noqa: E402
from lipsync_core.evaluation.run import look_at  # noqa: E402
from lipsync_core.evaluation.shifted_measures import KEYS, shifted  # noqa: E402
from lipsync_core.evaluation.truth_measures import grid_of, pearson  # noqa: E402
from lipsync_core.faces import create_backend  # noqa: E402
from lipsync_core.generators.morph import MorphGenerator  # noqa: E402
from lipsync_core.types import Hooks  # noqa: E402

LOSSLESS = Encoding(lossless=True, preset="ultrafast")

CLIPS = ("testonly_pcavs_00002", "testonly_pcavs_00086", "testonly_pcavs_00373", "testonly_pcavs_620900105", "testonly_pcavs_731200067",
         "testonly_pcavs_741400104", "testonly_vretalking_2", "testonly_vretalking_3", "latentsync_demo3", "grid_pwij3p", "grid_sbia1a",
         "grid_swiz3n")
"""People whose opening taught nothing that the generator hears with, half profiles, glasses, a beard and a moustache among them. The first
eight taught nothing at all, the last four its width and jaw."""
FOREIGN = ("deyu.wav", "fayu.wav", "eluosi.wav", "japanese.wav", "chinese_news.wav")
OWN_KEYS = ("best_correlation", "spoken_correlation", "lag_ms", "width_correlation", "range", "lip_distance", "closure_recall",
            "closure_precision", "closure", "closure_truth")
SHIFTED_KEYS = (*KEYS, "opening_drawn", "width_drawn", "opening_chance", "width_chance", "opening_heard", "width_heard")
FOREIGN_KEYS = ("leak", "leak_truth", "leftover", "sharpness", "seam", "colour", "flicker", "outside_equal")
PROTOCOLS = {"own": OWN_KEYS, "foreign": FOREIGN_KEYS, "shifted": SHIFTED_KEYS}
LIVE = "live"
NOW = "morph"
"""The generator whose articulation says what should be drawn."""


def pausing(speech: Path, target: Path, seconds: float) -> Path:
    """`speech` with a second of silence before it and after every 2.5 s."""
    samples = load_speech(speech).samples
    quiet = np.zeros(16_000, np.float32)
    parts = [quiet]
    for first in range(0, len(samples), 40_000):
        parts += [samples[first:first + 40_000], quiet]
    soundfile.write(target, np.concatenate(parts)[:int(seconds * 16_000)], 16_000)
    return target


def made(clip: Path, audio: Path, file: Path, generator: str, options: DubOptions) -> None:
    """`LIVE` is `morph` in a stream."""
    if generator == LIVE:
        dub_live(clip, audio, file, options)
    else:
        dub(clip, audio, file, options, generator=generator)


def dubbed_rows(clip: Path, audio: Path, protocol: str, work: Path, generators: list[str], seconds: float,
                landmarks: str) -> list[dict]:
    """A row for each generator: `clip` dubbed with its own sound ('own') or with another ('foreign')."""
    files = []
    for generator in generators:
        files.append(work / f"{clip.stem}_{protocol}_{Path(generator).stem}.mkv")
        made(clip, audio, files[-1], generator, DubOptions(duration=seconds, encoding=LOSSLESS))
    found = evaluate_several(files, clip, clip if protocol == "own" else None, audio, landmarks)
    return [item.measures for item in found]


def shifted_rows(clip: Path, work: Path, generators: list[str], seconds: float, landmarks: str) -> list[dict]:
    """A row for each generator: the second half of the first `seconds` of `clip`, dubbed with the first half's sound."""
    half = min(seconds, timing_of(clip).video_seconds or seconds) / 2
    backend, hooks = create_backend(), Hooks()
    truth = look_at(clip, landmarks, "largest", hooks, half, backend)
    source = look_at(clip, landmarks, "largest", hooks, half, backend, start=half)
    # The sound of a clip may begin a little after its picture; the dub's begins with the picture.
    real = truth.curves.shifted(-truth.timing.offset)
    rows = []
    for generator in generators:
        file = work / f"{clip.stem}_shifted_{Path(generator).stem}.mkv"
        made(clip, clip, file, generator, DubOptions(start=half, duration=half, encoding=LOSSLESS))
        curves = look_at(file, landmarks, "largest", hooks, None, backend, beside=source).curves
        row = shifted(curves, real, source.curves)
        rows.append(row | (asked(curves, real.shifted((row["lag_ms"] or 0) / 1000), source.curves, clip) if generator == NOW else {}))
    return rows


def asked(dub: Curves, truth: Curves, source: Curves, sound: Path) -> dict[str, float | None]:
    """Pearson's r of the opening and the width that the articulation asked for with those that the pictures show (`drawn`: how true the
    drawing is, whatever the ear heard), with the truth (`heard`: what the best drawing would reach) and with the source's own
    (`chance`: what is left over where nothing is)."""
    shape = MorphGenerator().articulation(load_speech(sound).samples, dub.times)
    found = {}
    for name, wanted in (("opening", shape.opening * shape.activity), ("width", shape.width * shape.activity)):
        for key, curves in (("drawn", dub), ("heard", truth), ("chance", source)):
            shown = curves.opening if name == "opening" else corner_distance(curves.lips)
            grid = grid_of(dub, curves)
            found[f"{name}_{key}"] = pearson(resample(dub.times, wanted, grid), resample(curves.times, shown, grid))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", type=Path)
    parser.add_argument("--landmarks", default="builtin", help="see `python -m lipsync_core evaluate --help`")
    parser.add_argument("--generators", nargs="+", default=["morph-bands", "morph"],
                        help="built-in ones by name, checkpoint files, or 'live'")
    parser.add_argument("--clips", nargs="+", default=list(CLIPS), help="names in talking/ without their ending")
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    parser.add_argument("--seconds", type=float, default=8.0, help="of each clip")
    parser.add_argument("--work", type=Path, help="keep the dubs here")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        work = chosen.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(chosen.clips):
            clip = next((chosen.media / "talking").glob(f"{name}.*"))
            for protocol in chosen.protocols:
                if protocol == "shifted":
                    found = shifted_rows(clip, work, chosen.generators, chosen.seconds, chosen.landmarks)
                else:
                    audio = clip if protocol == "own" else pausing(chosen.media / "audio" / FOREIGN[number % len(FOREIGN)],
                                                                   work / f"{name}.wav", chosen.seconds)
                    found = dubbed_rows(clip, audio, protocol, work, chosen.generators, chosen.seconds, chosen.landmarks)
                for generator, measures in zip(chosen.generators, found):
                    rows.append({"clip": name, "protocol": protocol, "generator": generator, **measures})
                    short = {k: round(float(v), 2) for k, v in measures.items() if v is not None}
                    sys.stderr.write(f"{name} {protocol} {generator}: {short}\n")
    for protocol in chosen.protocols:
        sys.stdout.write(f"{protocol + ' sound, median of ' + str(len(chosen.clips)) + ' clips':36s}"
                         + "".join(f"{Path(g).stem:>14s}" for g in chosen.generators) + "\n")
        for key in PROTOCOLS[protocol]:
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
