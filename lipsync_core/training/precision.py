"""Mixed precision where it pays: a CPU without bf16 instructions imitates them, ten times slower than float32."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def has_bf16(device: str | torch.device) -> bool:
    """Whether `device` multiplies bf16 itself; of CPUs those with AVX512-BF16 or AMX (where PyTorch can't tell: no)."""
    if torch.device(device).type != "cpu":
        return True
    return any(getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def autocast(device: str | torch.device = "cpu") -> AbstractContextManager:
    """bf16 on devices that have it, else float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=has_bf16(device))
