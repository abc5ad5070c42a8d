"""Where Wav2Lip's time goes: every stage of a dub, and the network in every form and batch size, all in one run.

    python benchmarks/wav2lip.py [--variant 96] [--batches 1 8 32] [--compile] [--threads 1] [--quick] [--json FILE]

Random weights: speed does not depend on them. What is compared is measured in turn, round after round, so that a busy machine slows all of
it; ratios are over the first row of the table. Needs scikit-image (the portrait) besides the pack's own requirements.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core.analysis import analyse  # noqa: E402
from lipsync_core.audio import load_speech  # noqa: E402
from lipsync_core.compositing import Blending  # noqa: E402
from lipsync_core.demo import SPEECH, make_clip  # noqa: E402
from lipsync_core.faces import create_backend  # noqa: E402
from lipsync_core.generators.wav2lip.generator import Wav2LipGenerator  # noqa: E402
from lipsync_core.generators.wav2lip.network import VARIANTS, Wav2Lip  # noqa: E402
from lipsync_core.media import FrameView, VideoSource, own_frame  # noqa: E402
from lipsync_core.stages import changes, work_of  # noqa: E402
from lipsync_core.types import Drive, Hooks, Person, Speech  # noqa: E402

BY_SIZE = {variant.layout.size: variant for variant in VARIANTS}


def network_of(variant: type[Wav2Lip], *, fuse: bool, layout: torch.memory_format, dtype: torch.dtype = torch.float32) -> Wav2Lip:
    torch.manual_seed(0)
    network = variant().eval().requires_grad_(False)
    return (network.fuse() if fuse else network).to(dtype=dtype, memory_format=layout)


def forms(variant: type[Wav2Lip], compiled: bool) -> dict[str, tuple[Callable, Wav2Lip]]:
    """What is called, and the network behind it, by name; the first one is what the others are compared with."""
    plain, last = torch.contiguous_format, torch.channels_last
    networks = {
        "fp32 as published": network_of(variant, fuse=False, layout=plain),
        "fp32 channels last": network_of(variant, fuse=False, layout=last),
        "fp32 fused": network_of(variant, fuse=True, layout=plain),
        "fp32 fused, channels last": network_of(variant, fuse=True, layout=last),
        "bf16 fused, channels last": network_of(variant, fuse=True, layout=last, dtype=torch.bfloat16),
    }
    found: dict[str, tuple[Callable, Wav2Lip]] = {name: (network, network) for name, network in networks.items()}
    for precision in ("fp32", "bf16"):
        network = networks[f"{precision} fused, channels last"]
        call = partial(lower_half, network)
        found[f"{precision} as the generator uses it"] = (call, network)
        if compiled:
            found[f"{precision} the same, compiled"] = (torch.compile(call), network)
    return found


def lower_half(network: Wav2Lip, mel: torch.Tensor, face: torch.Tensor) -> torch.Tensor:
    """Batch norm folded, channels last, and only the rows that are blended in."""
    return network.paint(network.hear(mel), face, network.size // 2)


def in_turn(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, warmed up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def measure_network(variant: type[Wav2Lip], batches: Sequence[int], compiled: bool, rounds: int) -> list[dict]:
    kinds = forms(variant, compiled)
    works: dict[str, Callable[[], object]] = {}
    for batch in batches:
        for name, (call, network) in kinds.items():
            like = next(network.parameters())
            layout = torch.contiguous_format if name in ("fp32 as published", "fp32 fused") else torch.channels_last
            mel = torch.rand(batch, 1, 80, 16).to(like) * 8 - 4
            face = torch.rand(batch, 6, network.size, network.size).to(like).contiguous(memory_format=layout)

            def work(call: Callable = call, mel: torch.Tensor = mel, face: torch.Tensor = face) -> None:
                with torch.inference_mode():
                    call(mel, face)

            works[f"{name}|{batch}"] = work
    taken = in_turn(works, rounds)
    base = next(iter(taken.values())) / batches[0]
    rows = []
    for key, seconds in taken.items():
        name, batch = key.split("|")
        each = seconds / int(batch)
        rows.append({"form": name, "batch": int(batch), "ms_a_face": 1000 * each, "faces_s": 1 / each, "ratio": base / each})
    return rows


def measure_stages(variant: type[Wav2Lip], batches: Sequence[int], frames: int, height: int, rounds: int) -> list[dict]:
    """Milliseconds a face of a dub, stage by stage."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, frames / 25, height)
        source = VideoSource(clip)
        track = analyse(source, create_backend(), Hooks()).tracks[0]
        decoded = [own_frame(item.frame) for item in source.frames()][:frames]
    speech = Speech(np.resize(load_speech(SPEECH).samples, round(frames / 25 * 16_000)))
    generator = Wav2LipGenerator(network_of(variant, fuse=True, layout=torch.channels_last))
    state = generator.start(Person(track), generator.hear(speech), Drive())

    def cropped() -> list:
        return [work_of(FrameView(frame), track, i, i, i / 25, generator.spec) for i, frame in enumerate(decoded)]

    works = cropped()

    def generated(batch: int) -> list:
        return [face for first in range(0, frames, batch)
                for face in generator.generate([work.item for work in works[first:first + batch]], state)]

    faces = generated(frames)

    def blended() -> None:
        for work, face, frame in zip(works, faces, decoded):
            difference = changes(work, face, Blending())
            if difference is not None:
                FrameView(own_frame(frame)).add(work.box, difference)

    stages: dict[str, Callable[[], object]] = {"mel": lambda: generator.hear(speech), "crop": cropped,
                                               "blend": blended}
    stages |= {f"network, batch {batch}": lambda batch=batch: generated(batch) for batch in batches}
    taken = {name: 1000 * seconds / frames for name, seconds in in_turn(stages, rounds).items()}
    dubbed = ("mel", "crop", "blend", f"network, batch {max(batches)}")
    whole = sum(taken[name] for name in dubbed)
    side = float((track.boxes[:, 3] - track.boxes[:, 1]).mean())
    return [{"stage": name, "ms_a_face": ms, "share": ms / whole if name in dubbed else None, "face_pixels": side}
            for name, ms in taken.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", type=int, default=96, choices=sorted(BY_SIZE))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--height", type=int, default=720, help="of the clip whose faces are cropped and blended")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; what it takes by itself if left out")
    parser.add_argument("--compile", action="store_true", help="torch.compile too (needs a C++ compiler)")
    parser.add_argument("--quick", action="store_true", help="a check that this runs: two rounds, batches of 1 and 4")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    batches, rounds, frames = ([1, 4], 2, 8) if chosen.quick else (chosen.batches, chosen.rounds, chosen.frames)
    variant = BY_SIZE[chosen.variant]
    stages = measure_stages(variant, batches, frames, chosen.height, rounds)
    print(f"Wav2Lip {chosen.variant}, CPU, {torch.get_num_threads()} thread(s); faces of {stages[0]['face_pixels']:.0f} pixels")
    print(f"{'stage':38s} {'ms a face':>10s} {'share':>7s}")
    for row in stages:
        print(f"{row['stage']:38s} {row['ms_a_face']:10.2f} {'' if row['share'] is None else format(row['share'], '7.1%')}")
    print("(shares of a dub with the largest batch, decoding, tracking and encoding left out)\n")
    rows = measure_network(variant, batches, chosen.compile, rounds)
    print(f"{'network':38s} {'batch':>5s} {'ms a face':>10s} {'faces/s':>8s} {'ratio':>6s}")
    for row in rows:
        print(f"{row['form']:38s} {row['batch']:5d} {row['ms_a_face']:10.2f} {row['faces_s']:8.1f} {row['ratio']:6.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps({"variant": chosen.variant, "threads": torch.get_num_threads(), "stages": stages,
                                           "network": rows}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
