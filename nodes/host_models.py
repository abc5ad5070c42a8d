"""Generators, restorers and face models as ComfyUI keeps them: its folders, its devices, its memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import comfy.model_management
import comfy.model_patcher
import folder_paths
import torch

from ..lipsync_core.types import Generator
from .types import BUILT_IN, NETWORK, NO_RESTORER

FOLDER = "lipsync"
"""Checkpoints lie in `models/lipsync`, or where extra_model_paths.yaml says."""
RESTORER_FOLDERS = ("facerestore_models", "upscale_models", FOLDER)
"""Where users keep face restorers; the first is the usual one, though not the host's own."""
EXTENSIONS = {".safetensors", ".pth", ".pt", ".bin"}
TOLD = 12
"""Files that a tooltip has room for."""


def register_model_folder() -> None:
    """`models/lipsync`, beside what the user's extra_model_paths.yaml names (which comes without a list of endings)."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.add_model_folder_path(RESTORER_FOLDERS[0], os.path.join(folder_paths.models_dir, RESTORER_FOLDERS[0]))
    folder_paths.folder_names_and_paths[FOLDER] = (folder_paths.folder_names_and_paths[FOLDER][0], EXTENSIONS)


def generator_names() -> list[str]:
    """What is built in, and the files that may be generators: MuseTalk's other parts and the like are left out."""
    return [BUILT_IN, NETWORK, *(name for name, _ in generator_files())]


def generator_files() -> list[tuple[str, Path]]:
    """Names as the host lists them, and where the files are."""
    from ..lipsync_core.models.brief import may_be_generator

    found = [(name, folder_paths.get_full_path(FOLDER, name)) for name in folder_paths.get_filename_list(FOLDER)]
    return [(name, Path(path)) for name, path in found if path and may_be_generator(name, Path(path))]


def restorer_files() -> dict[str, Path]:
    """The files that are called as face restorers are, by the names that the host lists."""
    from ..lipsync_core.models.brief import may_be_restorer

    found: dict[str, Path] = {}
    for folder in RESTORER_FOLDERS:
        for name in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, name)
            if path and may_be_restorer(name) and Path(name).suffix.lower() in EXTENSIONS:
                found.setdefault(name, Path(path))
    return found


def restorer_names() -> list[str]:
    return list(restorer_files())


def restorers_tooltip() -> str:
    """What a restorer is for, and the files there are with sizes and licences."""
    from ..lipsync_core.models.brief import describe

    lines = [describe(name, path) for name, path in list(restorer_files().items())[:TOLD]]
    return "\n".join(["A face restorer sharpens the new face before it is blended back: a file of GFPGAN, CodeFormer or RestoreFormer in "
                      "models/facerestore_models. For checkpoints of few pixels; morph needs none and leaves it out.", *lines])


def restorer_time(name: str) -> float:
    """When a restorer's file was last written; 0 where none is wanted. One that is gone fails when it is loaded, with its name."""
    path = restorer_files().get(name) if name != NO_RESTORER else None
    return os.path.getmtime(path) if path else 0.0


def syncnet_file() -> Path | None:
    """SyncNet, in any of the folders that `models/lipsync` means here."""
    from ..lipsync_core.evaluation.syncnet_file import NAMES

    found = (folder_paths.get_full_path(FOLDER, name) for name in NAMES)
    return next((Path(path) for path in found if path), None)


def generators_tooltip() -> str:
    """What there is to choose from, with sizes and licences; told from names, sizes and heads of files, which takes no time."""
    from ..lipsync_core.models.brief import describe

    files = generator_files()
    lines = [describe(name, path) for name, path in files[:TOLD]]
    more = [f"and {len(files) - TOLD} more"] if len(files) > TOLD else []
    first = f"{BUILT_IN}, {NETWORK}, or a .safetensors, .pth, .pt or .bin file in ComfyUI's models/lipsync folder."
    return "\n".join([first, *lines, *more])


def generator_time(name: str) -> float:
    """When a checkpoint was last written; 0 for what is built in. A file that is gone fails when it is loaded, with its name."""
    path = folder_paths.get_full_path(FOLDER, name) if name not in (BUILT_IN, NETWORK) else None
    return os.path.getmtime(path) if path else 0.0


@dataclass(frozen=True)
class LoadedGenerator:
    """What Load Generator gives: a generator, and the patchers that ComfyUI moves its networks with (none: there is no network)."""

    name: str
    generator: Generator
    patchers: tuple[Any, ...] = ()

    def ready(self) -> Generator:
        """The generator with its networks on the device, in batches that are halved where memory does not suffice."""
        if not self.patchers:
            return self.generator
        comfy.model_management.load_models_gpu(list(self.patchers), force_full_load=True)
        return _sparing(self.generator)


def ready(given: LoadedGenerator | None) -> Generator:
    """What a node was given, ready to use; morph where nothing was connected."""
    return (given or load_generator(BUILT_IN)).ready()


def _sparing(generator: Generator) -> Generator:
    """Batches that are halved where memory runs out, as ComfyUI tells and frees it; that one face is too much is ComfyUI's to say."""
    from ..lipsync_core.generators.sparing import SparingGenerator

    class Sparing(SparingGenerator):
        def ran_out(self, error: BaseException) -> bool:
            return comfy.model_management.is_oom(error)

        def release(self) -> None:
            comfy.model_management.soft_empty_cache()

        def give_up(self, error: BaseException) -> NoReturn:
            raise error

    return Sparing(generator)


def load_generator(name: str, options: str = "", restorer: str = NO_RESTORER, strength: float = 0.5) -> LoadedGenerator:
    """`options` are words `key=value`, spaces or lines between them; `strength` 0..1 is the face restorer's."""
    loaded = _load_generator(name, options)
    if restorer == NO_RESTORER or strength == 0:
        return loaded
    from ..lipsync_core.generators.restored import RestoredGenerator
    from ..lipsync_core.generators.restorers import load_restorer

    found = load_restorer(restorer_files().get(restorer, Path(restorer)))
    made = RestoredGenerator(loaded.generator, found, strength)
    return LoadedGenerator(name, made, loaded.patchers if made.off else (*loaded.patchers, patcher_of(found.network)))


def _load_generator(name: str, options: str) -> LoadedGenerator:
    from ..lipsync_core.generators import create_generator, parse_options

    chosen = parse_options(options.split())
    if name == BUILT_IN:
        return LoadedGenerator(name, create_generator("morph", chosen))
    # The host moves the network later, so that the file's own `auto` would see a CPU.
    half = comfy.model_management.should_use_fp16(comfy.model_management.get_torch_device())
    source = "lipsyncnet" if name == NETWORK else folder_paths.get_full_path_or_raise(FOLDER, name)
    generator = create_generator(source, {"precision": "fp16" if half else "fp32"} | chosen)
    network = getattr(generator, "network", None)
    return LoadedGenerator(name, generator, () if network is None else (patcher_of(network),))


def patcher_of(network: torch.nn.Module) -> Any:
    # Looked up at call time: ComfyUI rebinds the class after its start.
    return comfy.model_patcher.CoreModelPatcher(network, load_device=comfy.model_management.get_torch_device(),
                                                offload_device=comfy.model_management.unet_offload_device())


def face_backend(detector: str) -> Any:
    """The face models of that name, on ComfyUI's device."""
    from ..lipsync_core.faces import create_backend

    if detector != "built in":
        return create_backend(detector, str(comfy.model_management.get_torch_device()))
    backend = create_backend("builtin")
    patcher = patcher_of(backend.networks)
    comfy.model_management.load_models_gpu([patcher], force_full_load=True)
    backend.device = patcher.load_device
    return backend
