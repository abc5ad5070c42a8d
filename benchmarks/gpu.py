"""LipSyncNet, Wav2Lip and MuseTalk on a GPU: faces a second and milliseconds, for every network and size, and how far that is from what
the GPU could do.

    python benchmarks/gpu.py [--networks base large wav2lip] [--sizes 256] [--json FILE] [--minutes 9]

    python benchmarks/gpu.py visit PACK -o OUT [--minutes 8]      all that is worth doing in a visit: see gpu_visit.py

Needs torch, einops, safetensors, numpy and opencv only, and this checkout. Random weights: speed does not depend on them. Prints a table
and JSON: eager, channels last, compiled, and as a CUDA graph; bf16 and fp16; batches of 1, 8 and 32. The arithmetic floor is the
multiply-adds counted over the matrix rate measured in the same run. Without a GPU it runs on the CPU, as a check that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core.generators.lipsyncnet import PRESETS, LipSyncNet, build, preset  # noqa: E402
from lipsync_core.generators.lipsyncnet.canvas import MAPS  # noqa: E402
from lipsync_core.generators.wav2lip.network import Wav2Lip, Wav2Lip288  # noqa: E402

WAV2LIPS = {"wav2lip": Wav2Lip, "wav2lip288": Wav2Lip288}
MUSETALK = "musetalk"
NETWORKS = [*PRESETS, *WAV2LIPS, MUSETALK]
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def seconds(work: Callable[[], object], device: torch.device, least: float = 0.4) -> float:
    """Median time of one call, warmed up."""
    for _ in range(3):
        work()
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < least or len(times) < 5:
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Multiply-adds a second of a large matrix product, and bytes a second of a copy (read and written)."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = side**3 / seconds(lambda: a @ b, device)
    source = torch.empty((1 << 28) if device.type == "cuda" else (1 << 24), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return product, 2 * source.numel() / seconds(lambda: target.copy_(source), device)


def built(name: str, size: int) -> nn.Module:
    """A network with random weights, as the pipeline has it."""
    network: nn.Module
    if name in PRESETS:
        network = build(preset(name, size=size))
    elif name == MUSETALK:
        network = musetalk()
    else:
        network = WAV2LIPS[name]()
        network.eval().fuse()
    return network.eval().requires_grad_(False)


def musetalk() -> nn.Module:
    """UNet and VAE by the configs that MuseTalk is published with; what hears is left out, it runs once for a clip."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from lipsync_core.generators.musetalk.network import MuseTalkNetwork

    unet = UNet2DConditionModel(sample_size=64, in_channels=8, out_channels=4, block_out_channels=(320, 640, 1280, 1280),
                                cross_attention_dim=384, attention_head_dim=8)
    ends = [["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4]
    vae = AutoencoderKL(down_block_types=ends[0], up_block_types=ends[1], block_out_channels=(128, 256, 512, 512), layers_per_block=2,
                        latent_channels=4, scaling_factor=0.18215)
    return MuseTalkNetwork(unet, vae, nn.Identity())


def inputs(network: nn.Module, batch: int, device: torch.device, dtype: torch.dtype) -> tuple:
    def channels_last(*shape: int) -> Tensor:
        return torch.rand(*shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)

    if isinstance(network, Wav2Lip):
        return torch.rand(batch, 1, 80, 16, device=device, dtype=dtype), channels_last(batch, 6, network.size, network.size)
    if not isinstance(network, LipSyncNet):
        return channels_last(batch, 3, 256, 256), torch.rand(batch, 10, 5, 384, device=device, dtype=dtype)
    config = network.config
    references, maps = (torch.rand(1, config.references, planes, config.size, config.size, device=device, dtype=dtype)
                        for planes in (3, MAPS))
    with torch.inference_mode():
        features = [f.expand(batch, -1, -1, -1, -1) for f in network.encode_references(references, maps)]
    return channels_last(batch, 3, config.size, config.size), channels_last(batch, MAPS, config.size, config.size), features


def pixels(output: Any) -> Tensor:
    assert isinstance(output, Tensor)
    return output


def graphed(run: Callable[..., object], arguments: tuple) -> Callable[[], object]:
    """One CUDA graph of a call with fixed inputs."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(3):
            run(*arguments)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        run(*arguments)
    return graph.replay


def measure(name: str, size: int, device: torch.device, batches: list[int], deadline: float) -> list[dict]:
    torch.manual_seed(0)
    exact = built(name, size).to(device)
    truth_in = inputs(exact, 1, device, torch.float32)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        truth = pixels(exact(*truth_in))
    work = counter.get_total_flops() / 2
    rows = []
    precisions = ("bf16", "fp16") if device.type == "cuda" else ("fp32", "bf16")
    for precision in precisions:
        dtype = PRECISIONS[precision]
        product, copy = rates(device, dtype)
        network = built(name, size)
        network.load_state_dict(exact.state_dict())
        network = network.to(device, dtype)
        plain = network.to(memory_format=torch.contiguous_format)
        cast = [_cast(value, dtype) for value in truth_in]
        with torch.inference_mode():
            error = float((pixels(plain(*cast)).float() - truth).abs().max())
        compiled = torch.compile(network, dynamic=False, mode="max-autotune-no-cudagraphs" if device.type == "cuda" else "default")
        for how in ("eager", "channels last", "compiled", "graph"):
            if how == "graph" and device.type != "cuda":
                continue
            for batch in batches:
                if time.monotonic() > deadline:
                    return rows
                layout = torch.contiguous_format if how == "eager" else torch.channels_last
                network.to(memory_format=layout)
                arguments = inputs(network, batch, device, dtype)
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                call = compiled if how in ("compiled", "graph") else network

                def run(call: Callable = call, arguments: tuple = arguments) -> Tensor:
                    with torch.inference_mode():
                        return pixels(call(*arguments))

                try:
                    took = seconds(graphed(call, arguments) if how == "graph" else run, device)
                except RuntimeError as error:                          # a compiler's own fault, or no memory: the rest is worth its time
                    print(f"{name:10s} {size:4d} {precision} {how:14s} {batch:3d} failed: {str(error).splitlines()[0][:90]}", flush=True)
                    continue
                memory = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
                rows.append({"network": name, "size": size, "precision": precision, "how": how, "batch": batch, "ms": 1000 * took,
                             "faces_s": batch / took, "floor_share": batch * work / product / took, "memory_gb": memory,
                             "max_error": error, "gmac": work / 1e9, "tmac_s": product / 1e12, "copy_gb_s": copy / 1e9})
                share = batch * work / product / took
                print(f"{name:10s} {size:4d} {precision} {how:14s} {batch:3d} {took * 1000:9.2f} {batch / took:9.1f} {share:7.1%} "
                      f"{memory:6.2f} {error:.4f}", flush=True)
    return rows


def _cast(value: object, dtype: torch.dtype) -> object:
    return [part.to(dtype) for part in value] if isinstance(value, list) else value.to(dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[256], help="of LipSyncNet's crops; Wav2Lip has its own")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--minutes", type=float, default=9.0, help="no new measurement begins after that")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    deadline = time.monotonic() + 60 * chosen.minutes
    print(torch.cuda.get_device_name() if device.type == "cuda" else "CPU: a check that this runs, not a measurement")
    print(f"{'network':10s} size type {'how':14s} batch        ms   faces/s  floor  GB  error")
    rows = []
    for name in reversed(chosen.networks):
        if name == MUSETALK and (device.type == "cpu" or find_spec("diffusers") is None):
            print(f"{MUSETALK}: left out, it wants a GPU and requirements-musetalk.txt")
            continue
        for size in [256] if name == MUSETALK else chosen.sizes if name in PRESETS else [WAV2LIPS[name].layout.size]:
            rows += measure(name, size, device, chosen.batches, deadline)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    text = json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1)
    if chosen.json:
        chosen.json.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["visit"]:
        from gpu_visit import main as visit

        sys.exit(visit(sys.argv[2:]))
    main()
