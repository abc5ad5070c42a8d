"""Run by the host's interpreter, whose spandrel has the networks: load_restorer.py gfpgan|codeformer|restoreformer FOLDER.

A network with seeded random weights is wrapped as the published file is, read back by the pack, and must give what it gives itself: the
same picture every time, alone and beside another.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402

from lipsync_core.errors import CheckpointError  # noqa: E402
from lipsync_core.generators.restored import SIZE  # noqa: E402
from lipsync_core.generators.restorers import load_restorer  # noqa: E402


def published(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if name == "gfpgan":
        from spandrel.architectures.GFPGAN import GFPGAN

        return GFPGAN(out_size=512, num_style_feat=512, channel_multiplier=2, decoder_load_path=None, fix_decoder=False, num_mlp=8,
                      input_is_latent=True, different_w=True, narrow=1, sft_half=True)
    if name == "codeformer":
        from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

        return CodeFormer()
    from spandrel.architectures.RestoreFormer import RestoreFormer

    return RestoreFormer(n_embed=64, embed_dim=64, ch=32, ch_mult=(1, 1, 1, 1, 1, 2), num_res_blocks=1, z_channels=64)


def check(name: str, folder: Path) -> None:
    network = published(name).eval()
    file = folder / f"{name}.pth"
    state = network.state_dict()
    torch.save({"params_ema": state}, file)
    restorer = load_restorer(file)
    file.unlink()
    assert restorer.name == name and not any(parameter.requires_grad for parameter in restorer.network.parameters())
    torch.manual_seed(1)
    faces = torch.rand(2, 3, SIZE, SIZE)
    first = restorer(faces[:1])
    assert first.shape == (1, 3, SIZE, SIZE) and first.dtype == torch.float32 and 0 <= float(first.min()) < float(first.max()) <= 1
    assert float((restorer(faces)[:1] - first).abs().max()) < 1e-3, "noise of its own for every picture would flicker"
    arguments = {"gfpgan": {"randomize_noise": False}, "codeformer": {"weight": 0.5}}.get(name, {})
    with torch.inference_mode():
        wanted = network(faces[:1] * 2 - 1, **arguments)[0]
    assert torch.allclose(first, ((wanted + 1) / 2).clamp(0, 1), atol=1e-4)

    torch.save({"params_ema": dict(list(state.items())[:-1])}, file)
    try:
        load_restorer(file)
    except CheckpointError as error:
        assert "that spandrel can't load: use the published file" in str(error), error
    else:
        raise AssertionError("a file that lacks a tensor was taken")
    file.unlink()


if __name__ == "__main__":
    check(sys.argv[1], Path(sys.argv[2]))
