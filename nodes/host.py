"""The only module that touches ComfyUI's `comfy.*` and `folder_paths`: devices, progress, files, models."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.utils
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ..lipsync_core.types import Clip, GeneratedFace, Generator, GeneratorItem, Hooks, Speech
from .types import BUILT_IN, NO_RESTORER

log = logging.getLogger(__name__)
FOLDER = "lipsync"
"""Checkpoints lie in `models/lipsync`, or where extra_model_paths.yaml says."""
RESTORER_FOLDERS = ("facerestore_models", "upscale_models", FOLDER)
"""Where users keep face restorers; the first is the usual one, though not the host's own."""
EXTENSIONS = {".safetensors", ".pth", ".pt", ".bin"}
TOLD = 12
"""Files that a tooltip has room for."""
STEPS = 1000


# -- progress and interruption -----------------------------------------------------------------------------------------------


def hooks(**shares: float) -> Hooks:
    """Progress of stages (their names and their shares of the whole, in order) on one bar, and ComfyUI's interruption."""
    bar = comfy.utils.ProgressBar(STEPS)
    whole, begun, spans = sum(shares.values()), 0.0, {}
    for name, share in shares.items():
        spans[name] = (begun / whole, share / whole)
        begun += share

    def progress(stage: str, done: int, total: int) -> None:
        begin, share = spans.get(stage, (1.0, 0.0))
        bar.update_absolute(int(STEPS * (begin + share * min(1.0, done / max(total, 1)))))

    return Hooks(progress, comfy.model_management.throw_exception_if_processing_interrupted, log.warning)


# -- pictures and sound ------------------------------------------------------------------------------------------------------


def picture_batch(pictures: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """RGB uint8 pictures of one size -> IMAGE."""
    return output(torch.from_numpy(np.stack(pictures)).float().div_(255))


def output(tensor: torch.Tensor) -> torch.Tensor:
    """An IMAGE or MASK where the host wants it."""
    dtype = getattr(comfy.model_management, "intermediate_dtype", lambda: torch.float32)()
    return tensor.to(comfy.model_management.intermediate_device(), dtype)


def clip_of(images: torch.Tensor, frame_rate: Fraction) -> Clip:
    """IMAGE (n, h, w, c) float 0..1 as a clip; pixels are converted one frame at a time."""
    from ..lipsync_core.media import FrameBatch

    count, height, width = images.shape[:3]
    return FrameBatch(lambda i: images[i].float().cpu().numpy(), count, (width, height), frame_rate)


def rate_of(fps: float) -> Fraction:
    """23.976, 29.97 and 59.94 are 1001ths; other rates are what they say."""
    for whole in (24, 30, 48, 60, 120):
        if abs(fps - whole * 1000 / 1001) < 0.004:
            return Fraction(whole * 1000, 1001)
    return Fraction(fps).limit_denominator(1000)


def samples_of(audio: Mapping[str, Any] | None, node: str) -> tuple[np.ndarray, int]:
    """AUDIO {"waveform": (1, channels, n), "sample_rate"} -> float32 (channels, n) and the rate; raises a sentence where there is none."""
    if audio is None:
        raise ValueError(f"{node} got no audio (a video without a sound track gives none): connect a recording with speech in it.")
    waveform = audio["waveform"]
    if waveform.shape[0] > 1:
        log.warning("%s: of %d recordings in the batch the first is used.", node, waveform.shape[0])
    return waveform[0].float().cpu().numpy(), int(audio["sample_rate"])


def speech_of(audio: Mapping[str, Any] | None, node: str) -> Speech:
    """AUDIO as speech; raises a sentence where there is none."""
    from ..lipsync_core.audio import speech_from_samples

    return speech_from_samples(*samples_of(audio, node))


def audio_of(samples: np.ndarray, rate: int) -> dict[str, Any]:
    """float32 (channels, n) or (n,) -> AUDIO."""
    return {"waveform": torch.from_numpy(np.atleast_2d(samples).copy())[None], "sample_rate": int(rate)}


# -- video -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoFile:
    """A VIDEO that can be streamed: a path or an open file, and the part of it that is meant."""

    file: Any
    start: float
    duration: float | None


def file_of(video: Input.Video) -> VideoFile | None:
    """None for a VIDEO whose frames are in memory, or that has edits which its stream does not show."""
    if isinstance(video, InputImpl.VideoFromComponents) or getattr(video, "has_pending_frame_edits", lambda: False)():
        return None
    start, duration = video.get_active_trim_window()
    return VideoFile(video.get_stream_source(), float(start), float(duration) or None)


def video_path(video: Input.Video) -> tuple[Path, bool]:
    """A file that shows what the VIDEO shows, and whether it was made for this purpose (and is to be deleted)."""
    found = file_of(video)
    if found is not None and isinstance(found.file, (str, os.PathLike)) and not found.start and not found.duration:
        return Path(found.file), False
    path = temp_file(".mp4")
    try:
        video.save_to(str(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, True


@contextmanager
def temporary() -> Iterator[list[Path]]:
    """Files put into the list are deleted at the end."""
    files: list[Path] = []
    try:
        yield files
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def temp_file(suffix: str) -> Path:
    """A new name in ComfyUI's temp folder, which is emptied when ComfyUI starts and ends."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"openlipsync_{uuid.uuid4().hex[:12]}{suffix}"


# -- input files -------------------------------------------------------------------------------------------------------------


def media_files() -> list[str]:
    """Names of the sound and video files in the input folder."""
    folder = folder_paths.get_input_directory()
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()] if os.path.isdir(folder) else []
    return sorted(folder_paths.filter_files_content_types(names, ["audio", "video"]))


def input_exists(name: str) -> bool:
    return folder_paths.exists_annotated_filepath(name)


def input_path(name: str) -> Path:
    """Raises where a name points out of ComfyUI's folders."""
    return Path(folder_paths.get_annotated_filepath(name))


# -- models ------------------------------------------------------------------------------------------------------------------


def register_model_folder() -> None:
    """`models/lipsync`, beside what the user's extra_model_paths.yaml names (which comes without a list of endings)."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.add_model_folder_path(RESTORER_FOLDERS[0], os.path.join(folder_paths.models_dir, RESTORER_FOLDERS[0]))
    folder_paths.folder_names_and_paths[FOLDER] = (folder_paths.folder_names_and_paths[FOLDER][0], EXTENSIONS)


def generator_names() -> list[str]:
    """What is built in, and the files that may be generators: MuseTalk's other parts and the like are left out."""
    return [BUILT_IN, *(name for name, _ in generator_files())]


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
    return "\n".join([f"{BUILT_IN}, or a .safetensors, .pth, .pt or .bin file in ComfyUI's models/lipsync folder.", *lines, *more])


def generator_time(name: str) -> float:
    """When a checkpoint was last written; 0 for what is built in. A file that is gone fails when it is loaded, with its name."""
    path = folder_paths.get_full_path(FOLDER, name) if name != BUILT_IN else None
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
        return SparingGenerator(self.generator)


class SparingGenerator:
    """A generator whose batches are halved as often as memory runs out."""

    def __init__(self, generator: Generator) -> None:
        self._generator, self.spec = generator, generator.spec
        self.start = generator.start

    def generate(self, batch: Sequence[GeneratorItem], state: Any) -> list[GeneratedFace]:
        try:
            return self._generator.generate(batch, state)
        except RuntimeError as error:
            if len(batch) == 1 or not comfy.model_management.is_oom(error):
                raise
        comfy.model_management.soft_empty_cache()
        half = len(batch) // 2
        return self.generate(batch[:half], state) + self.generate(batch[half:], state)


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
    generator = create_generator(folder_paths.get_full_path_or_raise(FOLDER, name), {"precision": "fp16" if half else "fp32"} | chosen)
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


def face_rule(face: str, number: int, x: int, y: int) -> Any:
    """What the face inputs say, as `lipsync_core.faces.FaceRule`."""
    if face == "number":
        return number
    return (float(x), float(y)) if face == "point" else face

