"""Everything worth doing on a GPU that is lent for minutes, in one command: `python benchmarks/gpu.py visit PACK -o OUT --minutes 8`.

PACK is made by `python -m lipsync_core.training.lipsyncnet pack MEDIA -o PACK` (under 60 MB, it travels). In order, each on its own clock,
and what is done is written into OUT as it goes: a whole `dub` of a 1080p clip that is made here, through LipSyncNet; the training, from
OUT's or --resume's checkpoint if there is one, with held-out measures, weights, log and contact sheet; at last the speeds of LipSyncNet's
presets, of Wav2Lip and of MuseTalk. Without a GPU it does the same on the CPU, as a rehearsal.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
SHARES = {"dub": 0.1, "training": 0.6, "networks": 0.3}
"""Of the minutes."""
DUB = """
import sys, time
from lipsync_core import dub
began = time.monotonic()
report = dub(sys.argv[1], sys.argv[2], sys.argv[3], device=sys.argv[4], generator=sys.argv[5], generator_options={"device": sys.argv[4]})
print(report.frames, round(time.monotonic() - began, 2))
"""


def dub_speed(device: torch.device, out: Path, seconds: float) -> dict:
    """A 1080p clip through the whole of `dub`, with an untaught network: its speed is a taught one's."""
    from clips import make_clip, make_speech

    from lipsync_core.generators.lipsyncnet import build, checkpoint, preset

    length = max(1.0, min(10.0, seconds / 4))
    network = out / "untaught.safetensors"
    checkpoint.save(build(preset("small" if device.type == "cuda" else "tiny")), network, {"data": "none"})
    clip, speech = make_clip(out / "clip.mp4", 1920, 1080, length), make_speech(out / "speech.wav", length)
    try:
        run = subprocess.run([sys.executable, "-c", DUB, str(clip), str(speech), str(out / "dubbed.mp4"), device.type,
                              str(network)], capture_output=True,
                             text=True, cwd=HERE.parent, check=True, timeout=max(30.0, 3 * seconds))
    finally:
        clip.unlink(missing_ok=True)
        network.unlink(missing_ok=True)
        speech.unlink(missing_ok=True)
    frames, took = (float(value) for value in run.stdout.split())
    (out / "dubbed.mp4").unlink(missing_ok=True)
    return {"frames": int(frames), "seconds": took, "fps": round(frames / took, 1)}


def training(device: torch.device, pack: Path, out: Path, minutes: float, resume: Path | None) -> dict:
    """Teach, then measure on people who were never taught."""
    from lipsync_core.generators.lipsyncnet import checkpoint
    from lipsync_core.training.lipsyncnet.evaluate import evaluate
    from lipsync_core.training.lipsyncnet.loop import Trainer
    from lipsync_core.training.lipsyncnet.settings import Settings

    run, gpu = out / "run", device.type == "cuda"
    if resume is not None and not run.exists():
        shutil.copytree(resume, run)
    settings = Settings(preset="small" if gpu else "tiny", batch=32 if gpu else 4, minutes=minutes, tell_every=15.0)
    Trainer(settings, pack, run, cpu=not gpu).fit()
    return evaluate(pack, checkpoint.load(run / "lipsyncnet.safetensors"), out / "sheet.png")


def networks(out: Path, minutes: float) -> str:
    """This folder's `gpu.py`, as long as there is time."""
    run = subprocess.run([sys.executable, str(HERE / "gpu.py"), "--minutes", f"{minutes:.3f}", "--json", str(out / "networks.json")],
                         capture_output=True, text=True, check=False, timeout=60 * minutes + 240)
    return f"exit {run.returncode}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/gpu.py visit", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--resume", type=Path, metavar="STATE", help="folder of an earlier run, with its checkpoint")
    parser.add_argument("--without", nargs="+", default=[], choices=SHARES, help="leave out parts")
    chosen = parser.parse_args(arguments)
    chosen.output.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    minutes = {name: share * chosen.minutes for name, share in SHARES.items()}
    work = {"dub": lambda: dub_speed(device, chosen.output, 60 * minutes["dub"]),
            "training": lambda: training(device, chosen.pack, chosen.output, minutes["training"], chosen.resume),
            "networks": lambda: networks(chosen.output, minutes["networks"])}
    done: dict[str, object] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu", "torch": torch.__version__}
    failed = 0
    for name, part in work.items():
        if name in chosen.without:
            continue
        began = time.monotonic()
        try:
            done[name] = part()
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:      # the other parts are worth their minutes
            done[name], failed = f"failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}", failed + 1
        done[f"{name}_seconds"] = round(time.monotonic() - began, 1)
        (chosen.output / "visit.json").write_text(json.dumps(done, indent=1), encoding="utf-8")
        sys.stdout.write(f"{name}: {done[f'{name}_seconds']} s  {json.dumps(done[name])[:400]}\n")
        sys.stdout.flush()
    return 1 if failed else 0
