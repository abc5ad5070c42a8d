"""Which files MuseTalk is made of, in which folders they are published, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import CheckpointError


@dataclass(frozen=True)
class Part:
    """One of the three networks."""

    name: str
    folders: tuple[str, ...]
    """Folder names under MuseTalk's, the published ones first; `.` is MuseTalk's own."""
    weights: tuple[str, ...]
    """File names that are looked for, in this order; the last one is what the hub offers and what errors name."""
    config: str
    source: str
    """Where the files are published."""
    licence: str


UNET = Part("UNet", ("musetalkV15", "musetalk", "."),
            ("unet.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin", "unet.pth"), "musetalk.json",
            "huggingface.co/TMElyralab/MuseTalk", "CreativeML OpenRAIL-M by its card; any purpose, commercial too, by its README")
VAE = Part("VAE", ("sd-vae", "sd-vae-ft-mse"), ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"), "config.json",
           "huggingface.co/stabilityai/sd-vae-ft-mse", "MIT")
WHISPER = Part("audio encoder", ("whisper", "whisper-tiny"), ("model.safetensors", "pytorch_model.bin"), "config.json",
               "huggingface.co/openai/whisper-tiny", "Apache-2.0 by its card, MIT by its repository")


@dataclass(frozen=True)
class PartFiles:
    """A part as it was found."""

    part: Part
    weights: Path
    config: Path


@dataclass(frozen=True)
class Files:
    """All of MuseTalk."""

    unet: PartFiles
    vae: PartFiles
    whisper: PartFiles


def find(path: Path) -> Files:
    """The files of the MuseTalk at `path`: its folder (version 1.5 before 1.0 where both are there), or the UNet's file in it.

    VAE and audio encoder are looked for beside the UNet's folder, and in it. Raises one `CheckpointError` that names everything
    missing, where each file should be and where it comes from.
    """
    missing: list[str] = []
    if path.is_dir():
        home = path.parent if path.name.lower() == UNET.folders[0].lower() else path
        unet = _part(UNET, [path / name for name in UNET.folders], home, missing)
    else:
        home = _home(path)
        unet = PartFiles(UNET, _existing(path, UNET, missing), _existing(path.with_name(UNET.config), UNET, missing))
    roots = dict.fromkeys([home, unet.weights.parent, unet.weights.parent.parent])
    vae, whisper = (_part(part, [root / name for root in roots for name in part.folders], home, missing) for part in (VAE, WHISPER))
    if missing:
        raise CheckpointError(f"MuseTalk is not complete: it needs {' and '.join(missing)}.")
    return Files(unet, vae, whisper)


def _home(file: Path) -> Path:
    """MuseTalk's folder, from the UNet's file in it: the parts lie in folders beside the UNet's own."""
    above = file.parent.parent
    nested = file.parent.name.lower() == UNET.folders[0].lower() or above.name.lower() == "musetalk"
    return above if nested else file.parent


def _part(part: Part, folders: list[Path], home: Path, missing: list[str]) -> PartFiles:
    """The part in the first folder that has its weights; where none has, what is missing is said of the published place."""
    for folder in folders:
        for name in part.weights:
            if (folder / name).is_file():
                return PartFiles(part, folder / name, _existing(folder / part.config, part, missing))
    folder = home / part.folders[0]
    return PartFiles(part, _existing(folder / part.weights[-1], part, missing), _existing(folder / part.config, part, missing))


def _existing(file: Path, part: Part, missing: list[str]) -> Path:
    if not file.is_file():
        missing.append(f"{file} (the {part.name}'s, from {part.source})")
    return file
