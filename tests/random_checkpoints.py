"""Checkpoints as the public ones are, with random weights: Wav2Lip of its own size, MuseTalk small."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from lipsync_core.generators.musetalk.checkpoint import OLD_ATTENTION
from lipsync_core.generators.wav2lip.network import Wav2Lip

UNET = {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0.dev0", "act_fn": "silu", "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": False, "cross_attention_dim": 384,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"], "downsample_padding": 1, "flip_sin_to_cos": True,
        "freq_shift": 0, "in_channels": 8, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-5, "norm_num_groups": 32,
        "out_channels": 4, "sample_size": 64, "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
"""The fields of the published musetalk.json (architectures: UNet config)."""
VAE = {"_class_name": "AutoencoderKL", "_diffusers_version": "0.4.2", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
       "down_block_types": ["DownEncoderBlock2D"] * 4, "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
       "norm_num_groups": 32, "out_channels": 3, "sample_size": 256, "up_block_types": ["UpDecoderBlock2D"] * 4}
WHISPER = {"model_type": "whisper", "d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536,
           "num_mel_bins": 80, "max_source_positions": 1500}
SMALL_UNET = UNET | {"block_out_channels": [8, 16, 16, 16], "attention_head_dim": 2, "cross_attention_dim": 16, "layers_per_block": 1,
                     "norm_num_groups": 4}
SMALL_VAE = VAE | {"block_out_channels": [4, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4}
SMALL_WHISPER = WHISPER | {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
                           "max_source_positions": 60}


def random_wav2lip() -> Wav2Lip:
    """Random weights, and the statistics that noise has in them: every layer passes something on."""
    torch.manual_seed(0)
    net = Wav2Lip().train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    with torch.no_grad():
        net(torch.rand(4, 1, 80, 16) * 8 - 4, torch.rand(4, 6, 96, 96))
    return net.eval().requires_grad_(False)


def save_as_trained(net: Wav2Lip, file: Path) -> Path:
    """As DataParallel and the training program leave it."""
    state = {f"module.{name}": value for name, value in net.state_dict().items()}
    moments = {"state": {0: {"step": 3, "exp_avg": torch.ones(8)}}, "param_groups": [{"lr": 1e-4, "betas": (0.5, 0.999), "params": [0]}]}
    torch.save({"state_dict": state, "optimizer": moments, "global_step": 3, "global_epoch": 1}, file)
    return file


def musetalk_networks(unet: dict, vae: dict, whisper: dict) -> tuple:
    """UNet, VAE and Whisper's encoder of these configs; needs requirements-musetalk.txt."""
    import diffusers
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return (diffusers.UNet2DConditionModel.from_config(unet), diffusers.AutoencoderKL.from_config(vae),
            WhisperEncoder(transformers.WhisperConfig.from_dict(whisper)))


def write_musetalk(home: Path, told_by_tensors: bool = False) -> Path:
    """A small MuseTalk with random weights, in the files of the published one: the VAE under its old names, Whisper with its decoder.
    `told_by_tensors`: its first layer and its sound have the published sizes, by which a UNet's file alone is known."""
    torch.manual_seed(4)
    unet_config, whisper_config = SMALL_UNET, SMALL_WHISPER
    if told_by_tensors:
        unet_config = SMALL_UNET | {"block_out_channels": [320, 16, 16, 16], "cross_attention_dim": 384}
        whisper_config = SMALL_WHISPER | {"d_model": 384}
    unet, vae, whisper = musetalk_networks(unet_config, SMALL_VAE, whisper_config)
    for folder, name, config in (("musetalkV15", "musetalk.json", unet_config), ("sd-vae", "config.json", SMALL_VAE),
                                 ("whisper", "config.json", whisper_config)):
        (home / folder).mkdir(parents=True)
        (home / folder / name).write_text(json.dumps(config))
    torch.save(unet.state_dict(), home / "musetalkV15" / "unet.pth")
    torch.save(old_names(vae.state_dict()), home / "sd-vae" / "diffusion_pytorch_model.bin")
    heard = {f"model.encoder.{key}": value for key, value in whisper.state_dict().items()}
    decoder = {"model.decoder.embed_tokens.weight": torch.zeros(4, int(whisper_config["d_model"]))}
    torch.save(heard | decoder, home / "whisper" / "pytorch_model.bin")
    return home


def old_names(state: dict, convolutions: bool = False) -> dict:
    """As diffusers named the VAE's attention up to 0.11; older still, its linear layers were convolutions."""
    result = {}
    for key, value in state.items():
        for old, new in OLD_ATTENTION.items():
            if ".attentions." in key and f".{new}." in key:
                key = key.replace(f".{new}.", f".{old}.")
                value = value[:, :, None, None] if convolutions and value.ndim == 2 else value
        result[key] = value
    return result
