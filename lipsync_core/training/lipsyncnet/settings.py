"""What a training is told: files in conf/, and overrides from the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import LipSyncError

CONF = Path(__file__).resolve().parent / "conf"


@dataclass
class Weights:
    """What each loss counts."""

    l1: float = 6.0
    mouth: float = 3.0
    """How much more a pixel of the lower face counts than one beside it."""
    copied: float = 2.0
    gradient: float = 4.0
    perceptual: float = 1.0
    sync: float = 0.1
    mask: float = 0.5
    flow: float = 0.002
    adversarial: float = 0.1
    matching: float = 1.0
    r1: float = 1.0


@dataclass
class Settings:
    """One run. `python -m lipsync_core.training.lipsyncnet generator SHARDS -o RUN --config tiny --set batch=8 weights.sync=0.3`."""

    preset: str = "base"
    size: int = 256
    references: int = 3
    seed: int = 0
    batch: int = 16
    """Windows of five frames in a step, over all processes together."""
    accumulate: int = 1
    """Steps of the networks for one of the optimisers: `batch` is then this many times as large."""
    steps: int = 200_000
    rate: float = 2e-4
    warmup: int = 500
    """Steps over which the learning rate rises; it falls to a tenth along a cosine."""
    ema: float = 0.999
    clip: float = 1.0
    """Largest norm of a gradient."""
    precision: str = "bf16"
    """no, fp16 or bf16 (no on a CPU without bf16 instructions)."""
    sync_from: int = 2_000
    """Step from which the sync expert is heard."""
    adversarial_from: int = 20_000
    r1_every: int = 16
    discriminator_width: int = 48
    augment: bool = True
    """Other places, sizes, colours and levels each time; false to learn a clip by heart."""
    others: int = 4
    """Sounds of other moments that the sync expert compares with."""
    checkpoint_every: int = 1_000
    evaluate_every: int = 5_000
    evaluate_windows: int = 64
    image_every: int = 500
    log_every: int = 20
    keep: int = 2
    """Checkpoints that stay."""
    piece_mb: float = 0.0
    """Checkpoints are cut into files of at most so many MB; 0 = not."""
    cache_gb: float = 2.0
    """Decoded segments that each process keeps."""
    checkpointing: bool = False
    """Compute activations twice instead of keeping them: `large` in less memory."""
    compile: bool = False
    weights: Weights = field(default_factory=Weights)


def read(name: str, overrides: list[str]) -> Settings:
    """A file of conf/ by name, or any .yml, with `key=value` overrides. Raises `LipSyncError`."""
    import yaml

    file = Path(name) if name.endswith((".yml", ".yaml")) else CONF / f"{name}.yml"
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in CONF.glob("*.yml")))
        raise LipSyncError(f"There is no configuration {name}: use {known}, or the path of a .yml file.") from error
    except yaml.YAMLError as error:
        raise LipSyncError(f"{file} can't be read as YAML: {str(error).splitlines()[0]}.") from error
    settings = _filled(Settings(), values, file.name)
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise LipSyncError(f"{text!r} sets nothing: write key=value, for example batch=8.")
        nested: Any = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        settings = _filled(settings, nested, "--set")
    return settings


def _filled(settings: Any, values: dict[str, Any], where: str) -> Any:
    known = {f.name: f for f in dataclasses.fields(settings)}
    changes = {}
    for key, value in values.items():
        if key not in known:
            raise LipSyncError(f"{where} sets {key!r}, which is no setting: use {', '.join(known)}.")
        now = getattr(settings, key)
        if dataclasses.is_dataclass(now):
            changes[key] = _filled(now, value, where)
            continue
        try:
            changes[key] = value if isinstance(now, bool) else type(now)(value)
        except (TypeError, ValueError) as error:
            raise LipSyncError(f"{where} sets {key} to {value!r}, which is no {type(now).__name__}.") from error
    return dataclasses.replace(settings, **changes)
