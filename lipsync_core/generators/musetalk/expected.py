"""Names and shapes of the UNet's tensors, without diffusers: to tell how a file that is no MuseTalk differs from one."""

from __future__ import annotations

from collections.abc import Iterator

Shape = tuple[int, ...]
CHANNELS = (320, 640, 1280, 1280)
TIME, ATTENDED = 1280, 384
UP = (((2560, 2560, 2560), 1280), ((2560, 2560, 1920), 1280), ((1920, 1280, 960), 640), ((960, 640, 640), 320))
"""Widths that come into the three residual blocks of each way up (the skips' channels joined), and what comes out of them."""


def expected_shapes() -> dict[str, Shape]:
    """The 686 tensors (849,947,844 numbers) of the UNet of version 1.0 and 1.5, by the config that both are published with."""
    return dict(_unet())


def _unet() -> Iterator[tuple[str, Shape]]:
    yield from _layer("conv_in", (CHANNELS[0], 8, 3, 3))
    yield from _layer("time_embedding.linear_1", (TIME, CHANNELS[0]))
    yield from _layer("time_embedding.linear_2", (TIME, TIME))
    before = CHANNELS[0]
    for i, width in enumerate(CHANNELS):
        last = i == len(CHANNELS) - 1
        for j, cin in enumerate((before, width)):
            yield from _resnet(f"down_blocks.{i}.resnets.{j}", cin, width)
            if not last:
                yield from _attention(f"down_blocks.{i}.attentions.{j}", width)
        if not last:
            yield from _layer(f"down_blocks.{i}.downsamplers.0.conv", (width, width, 3, 3))
        before = width
    for j in range(2):
        yield from _resnet(f"mid_block.resnets.{j}", before, before)
    yield from _attention("mid_block.attentions.0", before)
    for i, (widths, width) in enumerate(UP):
        for j, cin in enumerate(widths):
            yield from _resnet(f"up_blocks.{i}.resnets.{j}", cin, width)
            if i:
                yield from _attention(f"up_blocks.{i}.attentions.{j}", width)
        if i < len(UP) - 1:
            yield from _layer(f"up_blocks.{i}.upsamplers.0.conv", (width, width, 3, 3))
    yield from _layer("conv_norm_out", (CHANNELS[0],))
    yield from _layer("conv_out", (4, CHANNELS[0], 3, 3))


def _layer(name: str, weight: Shape) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _resnet(name: str, cin: int, cout: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer(f"{name}.norm1", (cin,))
    yield from _layer(f"{name}.conv1", (cout, cin, 3, 3))
    yield from _layer(f"{name}.time_emb_proj", (cout, TIME))
    yield from _layer(f"{name}.norm2", (cout,))
    yield from _layer(f"{name}.conv2", (cout, cout, 3, 3))
    if cin != cout:
        yield from _layer(f"{name}.conv_shortcut", (cout, cin, 1, 1))


def _attention(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    block = f"{name}.transformer_blocks.0"
    yield from _layer(f"{name}.norm", (width,))
    yield from _layer(f"{name}.proj_in", (width, width, 1, 1))
    for norm, attention, attended in (("norm1", "attn1", width), ("norm2", "attn2", ATTENDED)):
        yield from _layer(f"{block}.{norm}", (width,))
        for part, seen in (("to_q", width), ("to_k", attended), ("to_v", attended)):
            yield f"{block}.{attention}.{part}.weight", (width, seen)
        yield from _layer(f"{block}.{attention}.to_out.0", (width, width))
    yield from _layer(f"{block}.norm3", (width,))
    yield from _layer(f"{block}.ff.net.0.proj", (8 * width, width))
    yield from _layer(f"{block}.ff.net.2", (width, 4 * width))
    yield from _layer(f"{name}.proj_out", (width, width, 1, 1))
