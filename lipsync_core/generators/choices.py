"""Options of generators as they are written on a command line or in a node: words into values, or one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..errors import LipSyncError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
YES, NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


def refuse_unknown(title: str, options: Iterable[str], known: Mapping[str, str]) -> None:
    """Raise `LipSyncError` for an option that is not among `known`."""
    for name in options:
        if name not in known:
            raise LipSyncError(f"{title} has no option {name!r}: use {', '.join(known)}.")


def one_of(name: str, value: str, allowed: Iterable[str]) -> str:
    """`value`, if it is allowed."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise LipSyncError(f"{value!r} is no value of the option {name}: use {', '.join(allowed)}.")
    return value


def yes_or_no(name: str, value: str) -> bool:
    return one_of(name, str(value).lower(), YES + NO) in YES


def number(name: str, value: str, low: float, high: float, whole: bool = False) -> float:
    """A number of `low` to `high`."""
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not low <= found <= high or (whole and found != int(found)):
        raise LipSyncError(f"{value!r} is no value of the option {name}: use a {'whole ' if whole else ''}number of {low:g} to {high:g}.")
    return found


def device_of(value: str) -> torch.device:
    """A torch device that is there."""
    import torch

    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:     # what torch raises for names, and builds without CUDA
        raise LipSyncError(f"There is no device {value!r} here: use cpu, cuda or mps.") from error
    return device


def precision_of(value: str, device: torch.device) -> torch.dtype:
    """`auto` is half precision on a GPU, else single."""
    import torch

    if one_of("precision", value, PRECISIONS) == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[value]
