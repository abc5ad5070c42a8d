"""MuseTalk from its published files: tensors read without executing anything, old names brought up to date."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CheckpointError, LipSyncError
from ..containers import read_tensors
from .layout import PartFiles, find
from .network import MuseTalkNetwork

CONV_IN = (320, 8, 3, 3)
"""Shape of the UNet's first weight: eight channels in, the hidden and the reference latents."""
CROSS_ATTENTION = 384
"""Width of what the UNet attends to: Whisper tiny's states."""
HEARS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
"""A tensor that only a UNet with cross-attention has, and that tells its width."""
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""How diffusers named the VAE's attention before version 0.12, in which sd-vae-ft-mse was published, and how it does since."""


def detect(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether tensors of these names and shapes are MuseTalk's UNet, of version 1.0 or 1.5: the two are built alike."""
    return shapes.get("conv_in.weight") == CONV_IN and shapes.get(HEARS) == (CONV_IN[0], CROSS_ATTENTION)


def load(path: Path, dtype: torch.dtype = torch.float32) -> MuseTalkNetwork:
    """The networks of the MuseTalk at `path` (see `layout.find`), in eval mode on the CPU.

    Whatever sizes the config files say are built. Raises `CheckpointError` (a file that is missing, damaged, or does not fit its
    config), and `LipSyncError` where diffusers or transformers are not installed.
    """
    files = find(path)
    libraries = _libraries()
    unet = _fill(files.unet, lambda config: libraries["unet"].from_config(config), dtype)
    vae = _fill(files.vae, lambda config: libraries["vae"].from_config(config), dtype, modern_attention)
    whisper = _fill(files.whisper, lambda config: libraries["whisper"](libraries["whisper_config"].from_dict(config)), dtype, encoder_only)
    if unet.config.cross_attention_dim != whisper.config.d_model:
        raise CheckpointError(f"{files.whisper.weights} is an audio encoder of width {whisper.config.d_model} and {files.unet.weights} "
                              f"listens to one of {unet.config.cross_attention_dim}: use whisper-tiny from {files.whisper.part.source}.")
    return MuseTalkNetwork(unet, vae, whisper).eval().requires_grad_(False)


def _libraries() -> dict[str, Any]:
    """The classes of diffusers and transformers; imported here, so that nobody needs them who does not choose MuseTalk."""
    try:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder
    except (ImportError, RuntimeError) as error:                      # their lazy imports turn one into the other
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise LipSyncError(f"MuseTalk needs the packages diffusers and transformers ({reason}): run "
                           f"pip install -r requirements-musetalk.txt in OpenLipSync's folder.") from error
    return {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "whisper": WhisperEncoder, "whisper_config": WhisperConfig}


def _fill(files: PartFiles, build: Callable[[dict[str, Any]], nn.Module], dtype: torch.dtype,
          rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict) -> Any:
    """A network by its config, with the tensors of its file; the file's own memory where the precision is the same."""
    try:
        config = json.loads(files.config.read_text(encoding="utf-8"))
        with torch.device("meta"):
            network = build(config)
    except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
        raise CheckpointError(f"{files.config} does not describe MuseTalk's {files.part.name}: get it again from "
                              f"{files.part.source}.") from error
    state = rename(read_tensors(files.weights))
    try:
        network.load_state_dict({key: value.to(dtype) for key, value in state.items()}, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{files.weights} does not hold the tensors that {files.config} describes: get both again from "
                              f"{files.part.source}.") from error
    return network


def modern_attention(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The VAE's tensors under today's names: old attention is renamed, and its 1x1 convolutions become linear layers."""
    result = {}
    for key, value in state.items():
        block, name, leaf = (["", ""] + key.rsplit(".", 2))[-3:]
        if ".attentions." in f".{block}." and name in OLD_ATTENTION:
            key = f"{block}.{OLD_ATTENTION[name]}.{leaf}"
            value = value[:, :, 0, 0] if value.ndim == 4 else value
        result[key] = value
    return result


def encoder_only(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whisper's encoder, out of the whole model (`model.encoder.`), one without its head (`encoder.`), or the encoder alone."""
    for prefix in ("model.encoder.", "encoder."):
        found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if found:
            return found
    return state
