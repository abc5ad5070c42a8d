"""Public checkpoints that are known: who made them, what their licence allows, how they are recognised and where they come from.

Sizes, hashes and places are those of the hub's listings (2026-07); what is not known stands as None and is not guessed. Importing
this costs nothing: a ComfyUI node builds its tooltip from it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ..errors import LipSyncError
from ..generators.musetalk.layout import UNET, VAE, WHISPER, Part


@dataclass(frozen=True)
class Source:
    """A file on a hub (`repository`, `path`), or at an address of its own (`repository` empty, `path` the address)."""

    repository: str
    path: str


@dataclass(frozen=True)
class KnownFile:
    """One file."""

    path: str
    """Where it goes, under the model folder; `/` between parts."""
    sources: tuple[Source, ...]
    """The same file in several places, the first one tried first."""
    size: int | None = None
    """Bytes, exactly."""
    about: int = 0
    """Bytes, roughly, where the exact size is not known; 0 = not known either, and small enough not to matter."""
    sha256: str | None = None
    instead: tuple[str, ...] = ()
    """Other names in the same folder that serve as well."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class KnownModel:
    """Files that belong together."""

    name: str
    """What `download` calls it."""
    title: str
    architecture: str
    """Name in `generators.architectures`."""
    licence: str
    commercial: str
    """`yes` or `no` as its publisher says; `unclear` where the licence allows commercial use and what it was taught on does not."""
    files: tuple[KnownFile, ...]
    needs: tuple[str, ...] = ()
    """Models that it does not work without."""
    generator: bool = False
    """Whether it makes faces by itself."""

    @property
    def size(self) -> int:
        """Bytes of all files, as far as known."""
        return sum(file.size or file.about for file in self.files)


COMMERCIAL = {"yes": "commercial use allowed", "no": "NO commercial use", "unclear": "commercial use unclear"}
WAV2LIP_LICENCE = "non-commercial: personal and research use only, by its repository (taught on LRS2)"
GFPGAN_RELEASE = "https://github.com/TencentARC/GFPGAN/releases/download/v1.3.4"
CODEFORMER_RELEASE = "https://github.com/sczhou/CodeFormer/releases/download/v0.1.0"
RESTORERS = ("gfpgan", "codeformer", "restoreformer")
"""Face restorers: architectures, and what their files have in their names."""
SYNCNET_ADDRESS = "http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model"


def _wav2lip_file(name: str, size: int, sha256: str) -> tuple[KnownFile, ...]:
    sources = (Source("camenduru/Wav2Lip", f"checkpoints/{name}"), Source("Nekochu/Wav2Lip", name))
    return (KnownFile(name, sources, size, sha256=sha256),)


def _part_files(part: Part, folder: str, weights: str, config: str, about: int = 0, inside: str = "") -> tuple[KnownFile, ...]:
    """A part of MuseTalk: its weights and its config, from `inside` the repository into a folder of MuseTalk's."""
    repository = part.source.removeprefix("huggingface.co/")
    where = f"musetalk/{folder}"
    return (KnownFile(f"{where}/{weights}", (Source(repository, f"{inside}{weights}"),), about=about, instead=part.weights),
            KnownFile(f"{where}/{config}", (Source(repository, f"{inside}{config}"),)))


CATALOGUE = (
    KnownModel("wav2lip-gan", "Wav2Lip GAN (better pictures)", "wav2lip", WAV2LIP_LICENCE, "no",
               _wav2lip_file("wav2lip_gan.pth", 435_801_865, "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8"),
               generator=True),
    KnownModel("wav2lip", "Wav2Lip (better in sync)", "wav2lip", WAV2LIP_LICENCE, "no",
               _wav2lip_file("wav2lip.pth", 435_807_851, "b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37"),
               generator=True),
    KnownModel("musetalk-1.5", "MuseTalk 1.5", "musetalk", UNET.licence, "yes",
               _part_files(UNET, "musetalkV15", "unet.pth", UNET.config, 3_400_000_000, "musetalkV15/"),
               ("sd-vae", "whisper-tiny"), True),
    KnownModel("musetalk-1.0", "MuseTalk 1.0", "musetalk", UNET.licence, "yes",
               _part_files(UNET, "musetalk", "pytorch_model.bin", UNET.config, 3_400_000_000, "musetalk/"),
               ("sd-vae", "whisper-tiny"), True),
    KnownModel("sd-vae", "MuseTalk's VAE, sd-vae-ft-mse", "sd-vae", VAE.licence, "yes",
               _part_files(VAE, VAE.folders[0], "diffusion_pytorch_model.safetensors", VAE.config, 335_000_000)),
    KnownModel("whisper-tiny", "MuseTalk's audio encoder, Whisper tiny", "whisper", WHISPER.licence, "yes",
               _part_files(WHISPER, WHISPER.folders[0], "pytorch_model.bin", WHISPER.config)),
    KnownModel("syncnet", "SyncNet v2, for the scores LSE-C and LSE-D of evaluate", "syncnet",
               "MIT by its repository; taught on data for research", "unclear",
               (KnownFile("syncnet_v2.model", (Source("", SYNCNET_ADDRESS),), about=54_500_000),)),
    KnownModel("gfpgan", "GFPGAN 1.4, a face restorer (dub --restore)", "gfpgan",
               "Apache-2.0 by its repository; taught on FFHQ, whose own licence is non-commercial", "unclear",
               (KnownFile("facerestore/GFPGANv1.4.pth", (Source("", f"{GFPGAN_RELEASE}/GFPGANv1.4.pth"),), 348_632_874,
                          sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad"),)),
    KnownModel("codeformer", "CodeFormer, a face restorer (dub --restore)", "codeformer", "S-Lab License 1.0: non-commercial", "no",
               (KnownFile("facerestore/codeformer.pth", (Source("", f"{CODEFORMER_RELEASE}/codeformer.pth"),), 376_637_898,
                          sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7"),)),
    KnownModel("restoreformer", "RestoreFormer, a face restorer (dub --restore)", "restoreformer",
               "Apache-2.0 by its repository; taught on FFHQ, whose own licence is non-commercial", "unclear",
               (KnownFile("facerestore/RestoreFormer.pth", (Source("", f"{GFPGAN_RELEASE}/RestoreFormer.pth"),)),)),
    KnownModel("wav2lip-expert", "Wav2Lip's sync expert, for training", "wav2lip-expert", WAV2LIP_LICENCE, "no",
               _wav2lip_file("lipsync_expert.pth", 197_357_631, "9b9936c721696446eeed353032cab242a8cf0eed8c46cde540366f6ae5493be5")),
    KnownModel("wav2lip-discriminator", "Wav2Lip's picture discriminator, for training", "wav2lip-discriminator", WAV2LIP_LICENCE, "no",
               _wav2lip_file("visual_quality_disc.pth", 169_382_040, "b3f8f6f7e954af02f2ffe0f3ea11f3259af89bff6e70933001c7c6bc8c145d96")),
)
OTHER_FILES = ("s3fd-619a316812.pth", "s3fd.pth", "dw-ll_ucoco_384.pth", "79999_iter.pth", "resnet18-5c106cde.pth", "latentsync_syncnet.pt")
"""Files that published folders of these models hold beside them, and that make no faces."""


def by_name(name: str) -> KnownModel:
    """The model that `download` calls so. Raises `LipSyncError` with the name that was probably meant."""
    names = {model.name: model for model in CATALOGUE}
    if name in names:
        return names[name]
    close = difflib.get_close_matches(name.lower(), list(names), 1, 0.5)
    raise LipSyncError(f"There is no known model {name!r}{f', maybe {close[0]!r} is meant' if close else ''}: "
                       f"use one of {', '.join(names)}.")


def match(path: str, size: int) -> tuple[KnownModel, KnownFile] | None:
    """The known file of this size in bytes; where a size is only roughly known, of this name in the folder it belongs to too.

    `path` is the file's, under the model folder or absolute. Not a proof: `Installed.verified` is one.
    """
    parts = path.replace("\\", "/").split("/")
    for model in CATALOGUE:
        for file in model.files:
            if file.size is not None:
                if file.size == size:
                    return model, file
            elif file.path.split("/")[-2:] == parts[-len(file.path.split("/")[-2:]):] and (
                    not file.about or abs(size - file.about) < 0.05 * file.about):
                return model, file
    return None


def by_hash(sha256: str) -> tuple[KnownModel, KnownFile] | None:
    """The known file with this hash: the file itself, whatever it is called."""
    return next(((model, file) for model in CATALOGUE for file in model.files if file.sha256 == sha256), None)


def size_text(size: int) -> str:
    """436 MB, 3.4 GB (decimal, as the hub counts)."""
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= factor:
            return f"{size / factor:.{1 if size < 10 * factor else 0}f} {unit}"
    return f"{size} bytes"
