"""LipSyncNet in the pipeline: `morph` moves lips and jaw to the speech, the network draws over it what a warp can't know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import FaceError
from ...types import Drive, FaceCrop, GeneratedFace, GeneratorItem, GeneratorSpec, Hooks, Listener, Person, Speech
from ..morph.articulation import Articulation
from ..morph.generator import MorphGenerator, MorphState, render, shown
from ..morph.geometry import FrameMouth, PersonMouth, locate
from ..morph.opening import smoothstep
from .canvas import in_picture, laid_back, lip_maps, placed
from .config import LipSyncNetConfig
from .network import LipSyncNet


@dataclass(frozen=True)
class LipSyncNetState:
    """What `start` found out; nothing in it changes afterwards."""

    moved: MorphState
    features: list[Tensor]
    """Of the person's references, (1, R, C, h, w) each."""


@dataclass(frozen=True)
class _Face:
    """A face that the network is to draw on."""

    pixels: np.ndarray
    frame: FrameMouth
    centre: complex
    amount: float


class LipSyncNetGenerator:
    """See `types.Generator`. `network` stays where it is; a host may move it between calls."""

    def __init__(self, network: LipSyncNet, articulation: Articulation | None = None) -> None:
        self.network = network.eval()
        self.config: LipSyncNetConfig = network.config
        self._morph = MorphGenerator(articulation)
        self.spec = GeneratorSpec("lipsyncnet", crop="native", references=max(3, self.config.references), batch_size=8)

    def hear(self, speech: Speech, hooks: Hooks | None = None) -> np.ndarray:
        return self._morph.hear(speech, hooks)

    def listener(self, look_ahead: float) -> Listener:
        return self._morph.listener(look_ahead)

    def start(self, person: Person, heard: np.ndarray, drive: Drive, hooks: Hooks | None = None,
              before: LipSyncNetState | None = None) -> LipSyncNetState:
        """Raises `FaceError` where the person was seen in no frame well enough to copy from."""
        if not person.references:
            raise FaceError("There is no frame in which the person can be seen well enough to copy teeth and skin from: use morph.")
        moved = self._morph.start(person, heard, drive, hooks, None if before is None else before.moved)
        if before is not None and before.moved.references is person.references:
            return LipSyncNetState(moved, before.features)
        pictures, lips = zip(*(self._reference(crop, moved.mouth) for crop in person.references))
        wanted = [i % len(pictures) for i in range(self.config.references)]
        with torch.inference_mode():
            features = self.network.encode_references(self._pictures([pictures[i] for i in wanted])[None],
                                                      self._maps([lips[i] for i in wanted])[None])
        return LipSyncNetState(moved, features)

    def generate(self, batch: Sequence[GeneratorItem], state: LipSyncNetState) -> list[GeneratedFace]:
        faces: list[_Face | None] = [self._moved(item, state.moved) for item in batch]
        drawn = iter(self._drawn([face for face in faces if face is not None], state))
        made = []
        for item, face in zip(batch, faces):
            if face is None:
                source = np.asarray(item.crop.pixels, np.float32)
                made.append(GeneratedFace(source, np.broadcast_to(np.float32(0), source.shape[:2])))
                continue
            height, width = face.pixels.shape[:2]
            added = laid_back(next(drawn), face.frame.a, face.frame.b, face.centre, (width, height))
            pixels = np.clip(face.pixels + smoothstep(item.region, 0.0, 0.85)[..., None] * added, 0, 255)
            made.append(GeneratedFace(pixels, np.broadcast_to(shown(face.amount), (height, width))))
        return made

    def _moved(self, item: GeneratorItem, state: MorphState) -> _Face | None:
        frame, amount = self._morph.aim(item, state)
        if frame is None:
            return None
        pixels = render(np.asarray(item.crop.pixels, np.float32), item.crop.landmarks, frame, item.region, state.mouth, item.row,
                        state.reference)
        return _Face(pixels, frame, complex(state.mouth.base[item.row][[0, 6]].mean()), amount)

    def _drawn(self, faces: Sequence[_Face], state: LipSyncNetState) -> list[np.ndarray]:
        """What is to be added to each face's upright picture, levels, float32 (size, size, 3)."""
        if not faces:
            return []
        pictures = [placed(face.pixels, face.frame.a, face.frame.b, face.centre, self.config.size) for face in faces]
        lips = [in_picture(face.frame.to_canonical(face.frame.target_lips), face.centre) for face in faces]
        with torch.inference_mode():
            added = self.network(self._pictures(pictures), self._maps(lips),
                                 [part.expand(len(faces), -1, -1, -1, -1) for part in state.features])
            return list((127.5 * added.float()).permute(0, 2, 3, 1).cpu().numpy())

    def _reference(self, crop: FaceCrop, mouth: PersonMouth) -> tuple[np.ndarray, np.ndarray]:
        """A reference as an upright picture, and its lips in it."""
        a, b, lips, _ = locate(crop.landmarks, mouth)
        centre = complex(np.median(mouth.base[:, [0, 6]].mean(1)))
        return placed(crop.pixels, a, b, centre, self.config.size), in_picture(lips, centre)

    def _pictures(self, pictures: Sequence[np.ndarray]) -> Tensor:
        like = next(self.network.parameters())
        found = torch.from_numpy(np.stack(pictures)).to(like.device).permute(0, 3, 1, 2)
        return (found.to(like.dtype) / 127.5 - 1).contiguous()

    def _maps(self, lips: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(lip_maps(np.stack(lips), self.config.size)).to(next(self.network.parameters()))
