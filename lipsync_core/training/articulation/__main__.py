"""Teach the articulation of `morph`, one command a step:

    python -m lipsync_core.training.articulation corpus train.npz --hours 7.4 --seed 1           (espeak-ng, flite, festival)
    python -m lipsync_core.training.articulation corpus test.npz --hours 0.15 --seed 99 --held-out
    labels/bin/python -m lipsync_core.training.articulation.label MEDIA TRACKS      (environment of requirements-label.txt)
    python -m lipsync_core.training.articulation train train.npz TRACKS MEDIA -o articulation.safetensors --minutes 30 30
    python -m lipsync_core.training.articulation reading TRACKS MEDIA -o mouth_reading.safetensors
    python -m lipsync_core.training.articulation reading TRACKS MEDIA --witness -o sync_witness.safetensors
    python -m lipsync_core.training.articulation evaluate test.npz TRACKS MEDIA

`reading` prints how well people are read that were left out (`--witness`: the sync score's, on people of its own); it hears through
the networks and the speech encoder that are bundled.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import torch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    corpus = commands.add_parser("corpus", help="read random sentences of many languages aloud, keep phone times")
    corpus.add_argument("file", type=Path)
    corpus.add_argument("--hours", type=float, default=7.4)
    corpus.add_argument("--seed", type=int, default=1)
    corpus.add_argument("--held-out", action="store_true", help="languages and voices that the training lacks")
    corpus.add_argument("--languages", nargs="+", metavar="L", help="only these voices of espeak-ng, such as de fr cmn ja ru")
    corpus.set_defaults(run=_corpus)
    train = commands.add_parser("train", help="teach the networks")
    train.add_argument("corpus", type=Path, nargs="+", help="corpus files, then TRACKS and MEDIA")
    train.add_argument("-o", "--output", type=Path, required=True)
    train.add_argument("--minutes", type=float, nargs="+", default=[30, 30], help="for each network of the ensemble")
    train.add_argument("--width", type=int, default=128)
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--quick", action="store_true", help="a few steps, no clips: does the recipe run?")
    train.set_defaults(run=_train)
    reading = commands.add_parser("reading", help="teach the linear reading of the speech encoder")
    reading.add_argument("tracks", type=Path)
    reading.add_argument("media", type=Path)
    reading.add_argument("-o", "--output", type=Path, help="default: only the figures")
    reading.add_argument("--witness", action="store_true", help="teach the sync score's reading instead")
    reading.add_argument("--depth", type=int, help="read another layer of the encoder, for comparison")
    reading.add_argument("--json", type=Path)
    reading.set_defaults(run=_reading)
    evaluate = commands.add_parser("evaluate", help="held-out people and languages, beside the first version")
    evaluate.add_argument("corpus", type=Path, help="made with --held-out")
    evaluate.add_argument("tracks", type=Path)
    evaluate.add_argument("media", type=Path)
    evaluate.add_argument("--weights", type=Path, help="default: the bundled ones")
    evaluate.add_argument("--json", type=Path)
    evaluate.set_defaults(run=_evaluate)
    spoken = commands.add_parser("closures", help="bilabials met and speech found in corpora, a line a file")
    spoken.add_argument("corpus", type=Path, nargs="+")
    spoken.set_defaults(run=_closures)
    basis = commands.add_parser("basis", help="how lip points move with opening and width: the constants of morph's geometry")
    basis.add_argument("tracks", type=Path)
    basis.set_defaults(run=_basis)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    chosen = parser.parse_args()
    chosen.run(chosen)
    return 0


def _corpus(chosen: argparse.Namespace) -> None:
    from .corpus import generate, save

    count = save(generate(chosen.hours, chosen.seed, held_out=chosen.held_out, languages=chosen.languages), chosen.file)
    sys.stdout.write(f"{count} utterances in {chosen.file}\n")


def _train(chosen: argparse.Namespace) -> None:
    from .export import export
    from .fit import Batches, prepare, train
    from .real import TEACHING, load_clips

    torch.set_num_threads(chosen.threads)
    files, clips = chosen.corpus, []
    if not chosen.quick:
        *files, tracks, media = chosen.corpus
        clips = load_clips(tracks, media, TEACHING, shift=True)
    spoken = [item for file in files for item in prepare(file)]
    sys.stdout.write(f"{len(spoken)} utterances, {len(clips)} clips\n")
    networks = []
    for seed, minutes in enumerate(chosen.minutes):
        batches = Batches(spoken, clips, 24, 0.4, seed)
        networks.append(train(batches, minutes, width=chosen.width, seed=seed, steps=3 if chosen.quick else None))
        export(networks, chosen.output)
    sys.stdout.write(f"{chosen.output}: {chosen.output.stat().st_size / 1e6:.2f} MB\n")


def _reading(chosen: argparse.Namespace) -> None:
    import numpy as np

    from ...hearing.listening import DEPTH, LIVE, WHOLE
    from .evaluate import row_of
    from .reading import FEATURES, drawn, export, networks_alone, scores, take, teach
    from .real import SPEAKERS, STRANGERS, WITNESSES, load_speakers

    depth = DEPTH if chosen.depth is None else chosen.depth
    windows = (WHOLE, LIVE) if chosen.output and not chosen.witness else (WHOLE,)
    whole, rest = (WITNESSES, SPEAKERS) if chosen.witness else (SPEAKERS, WITNESSES)
    teachers, strangers = (whole, rest | STRANGERS) if chosen.witness else (whole | rest, STRANGERS)
    ours = take(load_speakers(chosen.tracks, chosen.media, teachers), chosen.media, windows, depth)
    others = take(load_speakers(chosen.tracks, chosen.media, strangers), chosen.media, (WHOLE,), depth)
    # Who teaches the sync score's opening doesn't teach the generator's.
    sums, read, _ = teach(ours, others, FEATURES if chosen.witness else None, () if chosen.witness else rest)
    rows = [{"clip": item.clip.name, "person": item.person, **scores(item, read[item.clip.name])} for item in [*ours, *others]]
    shown = {"left out one by one": teachers} if chosen.witness else {
        "left out one by one": whole, "left out one by one; their opening was never taught on": rest}
    for name, people in (*shown.items(), ("never taught on", strangers)):
        chosen_rows = [row for row in rows if row["person"] in people and not row["clip"].startswith("grid_s1")]
        for row in chosen_rows:
            sys.stdout.write(f"{row['clip'][:46]:46s} opening {row['opening']:.2f} width {row['width']:5.2f} jaw {row['jaw']:5.2f} "
                             f"sound late by {row['lag_ms']:+.0f} ms\n")
        figures = {key: [row[key] for row in chosen_rows] for key in ("opening", "width", "jaw")}
        sys.stdout.write(f"{name}: " + ", ".join(f"{key} {np.median(v):.3f} ({np.mean(v):.3f})" for key, v in figures.items())
                         + f"; median (mean) of {len(chosen_rows)} clips\n")
    if not chosen.witness:
        shapes = [row_of(item.clip, drawn(item, read[item.clip.name]), None) for item in [*ours, *others] if item.person != "GRID s1"]
        before = [scores(item, networks_alone(item)) for item in [*ours, *others] if item.person != "GRID s1"]
        sys.stdout.write("the networks alone: " + ", ".join(f"{key} {np.median([row[key] for row in before]):.3f} "
                         f"({np.mean([row[key] for row in before]):.3f})" for key in ("opening", "width")) + f" of {len(before)} clips\n")
        columns = {key: [row[key] for row in shapes] for key in ("all_r", "speech_r", "width_r", "spread", "mean", "wrongly_shut")}
        sys.stdout.write("as drawn: " + ", ".join(f"{key} {np.median(v):.3f} ({np.mean(v):.3f})" for key, v in columns.items())
                         + f"; lips meet on {sum(row['met'] for row in shapes)} of {sum(row['marks'] for row in shapes)} bilabials\n")
    if chosen.output:
        export(sums, chosen.output)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _evaluate(chosen: argparse.Namespace) -> None:
    from ...generators.morph.articulation import NetArticulation
    from ...generators.morph.articulation_bands import BandArticulation
    from ...generators.morph.ear import Ear
    from ...generators.morph.streaming import FILE, Articulator
    from .corpus import load
    from .evaluate import table

    articulator = Articulator(chosen.weights or FILE)
    models = {"bands (the first version)": BandArticulation(), "networks and encoder": NetArticulation(Ear(articulator))}
    result = table(models, chosen.tracks, chosen.media, load(chosen.corpus), sys.stdout.write)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _closures(chosen: argparse.Namespace) -> None:
    from ...generators.morph.articulation import NetArticulation
    from .corpus import load
    from .evaluate import closures

    for file in chosen.corpus:
        found = closures(NetArticulation(), load(file))
        sys.stdout.write(f"{file.name}: " + ", ".join(f"{key} {value:.3g}" for key, value in found.items()) + "\n")


def _basis(chosen: argparse.Namespace) -> None:
    from .basis import fit

    for name, values in fit(chosen.tracks).items():
        sys.stdout.write(f"{name} = {[round(100 * float(v)) for v in values]}  / 100\n")


if __name__ == "__main__":
    sys.exit(main())
