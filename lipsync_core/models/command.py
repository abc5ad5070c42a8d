"""`python -m lipsync_core models`, `convert` and `download`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import LipSyncError
from ..types import Hooks
from .catalogue import CATALOGUE, COMMERCIAL, by_name, size_text
from .convert import convert
from .download import MIRROR, OFFLINE, Wanted, address_of, download, plan
from .folder import VARIABLE, models_folder
from .installed import Installed, installed

EXAMPLES = """examples:
  python -m lipsync_core models
  python -m lipsync_core models --folder ComfyUI/models/lipsync --verify
  python -m lipsync_core convert wav2lip_gan.pth wav2lip_gan.safetensors --half
  python -m lipsync_core download musetalk-1.5
"""


def add_parsers(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """The subcommands; `common` brings --quiet and --debug."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--folder", type=Path, metavar="DIR", help=f"the model folder (default: what {VARIABLE} names, else models/lipsync "
                       "of the ComfyUI that this lies in, else models/lipsync here)")
    shape = {"epilog": EXAMPLES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    models = commands.add_parser("models", parents=[common, where], help="list checkpoints: what is there, what can be had", **shape,
                                 description="List the checkpoints in the model folder (recognised by their tensors), their licences, "
                                             "and the public ones that `download` knows.")
    models.add_argument("--verify", action="store_true", help="compute SHA-256 of every file and compare it with the published ones")
    models.set_defaults(run=_models)

    change = commands.add_parser("convert", parents=[common], help="any checkpoint to safetensors, weights only", **shape,
                                 description="Write the weights of a checkpoint (.pth, .pt, .bin, .ckpt, TorchScript, .safetensors) as "
                                             "safetensors: optimisers and prefixes are left behind, and a card says where it is from.")
    change.add_argument("file", type=Path, metavar="FILE", help="the checkpoint; nothing in it is executed")
    change.add_argument("output", type=Path, metavar="OUT.safetensors")
    change.add_argument("--half", action="store_true", help="16 bits a number: half the size")
    change.add_argument("--force", action="store_true", help="overwrite OUT if it exists")
    change.set_defaults(run=_convert)

    fetch = commands.add_parser("download", parents=[common, where], help="fetch a known public checkpoint", **shape,
                                description=f"Fetch a public checkpoint into the model folder. Its licence and size are shown, and you "
                                            f"are asked. {MIRROR} names a mirror of the hub, {OFFLINE}=1 forbids fetching.")
    fetch.add_argument("name", metavar="NAME", help=", ".join(model.name for model in CATALOGUE))
    fetch.add_argument("--yes", action="store_true", help="don't ask: you agree to the licence that is shown")
    fetch.add_argument("--force", action="store_true", help="fetch again what is there already")
    fetch.set_defaults(run=_download, stopped="stopped; what has arrived is kept, the same command goes on with it")


def _models(chosen: argparse.Namespace, hooks: Hooks) -> None:
    folder = models_folder(chosen.folder)
    there = list(installed(folder, chosen.verify, hooks))
    nothing = "  nothing" if folder.is_dir() else "  nothing: there is no such folder yet"
    lines = ["Built in:", "  morph", "    Apache-2.0, commercial use allowed; needs no file", "", f"In {folder}:",
             *(map(_lines_of, there) if there else [nothing]), "", "Known, not there (python -m lipsync_core download NAME):"]
    for model in CATALOGUE:
        missing = [file for file in model.files if not _has(folder, there, file.path, (file.instead, file.size))]
        if missing:
            needs = f"; needs {' and '.join(model.needs)} too" if model.needs else ""
            about = "about " if any(file.size is None for file in model.files) else ""
            size = f"{about}{size_text(model.size)}" if model.size else "size not known"
            lines += [f"  {model.name}: {model.title}, {size}{needs}", f"    {COMMERCIAL[model.commercial]}; licence: {model.licence}"]
    _say("\n".join(lines))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _has(folder: Path, there: list[Installed], path: str, others: tuple[tuple[str, ...], int | None]) -> bool:
    """Whether a known file is in the folder: in its place, under a name that serves as well, or anywhere by its size."""
    names, size = others
    target = folder / path
    return (target.is_file() or any(target.with_name(name).is_file() for name in names)
            or (size is not None and any(item.size == size for item in there)))


def _lines_of(item: Installed) -> str:
    kind = "" if item.generator else " (no generator)"
    return (f"  {item.name}, {size_text(item.size)}{kind}\n    recognised: {item.recognised}\n"
            f"    {COMMERCIAL[item.commercial]}; licence: {item.licence}\n    {item.identity}")


def _convert(chosen: argparse.Namespace, hooks: Hooks) -> None:
    done = convert(chosen.file, chosen.output, half=chosen.half, force=chosen.force, hooks=hooks)
    whole = f", {done.kept_whole} of them in 32 bits because their numbers don't fit into 16" if done.kept_whole else ""
    _say(f"{done.output}: {done.recognised}, {done.tensors} tensors{whole}; {size_text(done.before)} became {size_text(done.after)}")


def _download(chosen: argparse.Namespace, hooks: Hooks) -> None:
    folder = models_folder(chosen.folder)
    wanted = plan(chosen.name, folder, chosen.force)
    if not wanted:
        _say(f"{by_name(chosen.name).title} is in {folder} already; --force fetches it again.")
        return
    _say(_offer(wanted))
    if not chosen.yes:
        _ask()
    for file in download(chosen.name, folder, force=chosen.force, hooks=hooks):
        _say(str(file))


def _offer(wanted: list[Wanted]) -> str:
    """What comes, from where, and what its licence says."""
    lines = []
    for model in dict.fromkeys(item.model for item in wanted):
        lines.append(f"{model.title}\n  licence: {model.licence}; {COMMERCIAL[model.commercial]}")
        for item in (item for item in wanted if item.model is model):
            file = item.file
            size = size_text(file.size) if file.size else f"about {size_text(file.about)}" if file.about else "size not known"
            known = "SHA-256 known" if file.sha256 else "hash not known here"
            lines.append(f"  {address_of(file.sources[0])}\n    -> {item.target} ({size}, {known})")
    return "\n".join(lines)


def _ask() -> None:
    """Returns if the user agrees. Raises `LipSyncError` if not, or if nobody can be asked."""
    if not sys.stdin.isatty():
        raise LipSyncError("Nobody can be asked here whether the licence is agreed to: add --yes if it is.")
    if input("Download, and agree to the licence? [y/N] ").strip().lower() not in ("y", "yes"):
        raise LipSyncError("Nothing was downloaded: the licence was not agreed to.")
