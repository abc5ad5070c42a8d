"""MuseTalk: the sizes and names of the published files, what it hears of a frame, files in their layout, and a dub through the pipeline.

The classes are those of diffusers and transformers, small and with random weights; at full size they are built without memory.
"""

from __future__ import annotations

import json
import math
import shutil
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from dubbing_check import check_only_mouths_change
from random_checkpoints import (
    SMALL_UNET,
    SMALL_VAE,
    SMALL_WHISPER,
    UNET,
    VAE,
    WHISPER,
    musetalk_networks,
    old_names,
    write_musetalk,
)
from safetensors.torch import save_file

from lipsync_core import Hooks
from lipsync_core.errors import CheckpointError, LipSyncError
from lipsync_core.generators import create_generator
from lipsync_core.generators.lipsyncnet import build, preset
from lipsync_core.generators.musetalk import create
from lipsync_core.generators.musetalk.audio import KEPT, Sound, whisper_mel
from lipsync_core.generators.musetalk.checkpoint import detect, modern_attention
from lipsync_core.generators.musetalk.expected import expected_shapes
from lipsync_core.generators.musetalk.generator import MuseTalkGenerator
from lipsync_core.generators.musetalk.layout import find
from lipsync_core.generators.musetalk.network import MASK_ROW, SIZE, MuseTalkNetwork, positions
from lipsync_core.types import Drive, FaceCrop, FaceTrack, GeneratorItem, Person, Speech

REASON = "MuseTalk's optional packages are not installed (pip install -r requirements-musetalk.txt)"
diffusers = pytest.importorskip("diffusers", reason=REASON)
transformers = pytest.importorskip("transformers", reason=REASON)

PIECE = 60
"""Steps of the small Whisper: pieces of 1.2 s, so that borders between them come soon."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_musetalk(tmp_path_factory.mktemp("models") / "musetalk")


@pytest.fixture(scope="module")
def generator(published: Path) -> MuseTalkGenerator:
    return create(published)


@pytest.fixture(scope="module")
def network(generator: MuseTalkGenerator) -> MuseTalkNetwork:
    return generator.network


def shapes_of(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


# -- the published sizes -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> tuple:
    with torch.device("meta"):
        return musetalk_networks(UNET, VAE, WHISPER)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_unet_is_that_of_the_table(full: tuple) -> None:
    unet = full[0]
    shapes = shapes_of(unet)
    assert count(unet) == 849_947_844 and len(shapes) == 686
    parts = {"conv_in": 23_360, "time_embedding": 2_050_560, "down_blocks": 246_171_840, "mid_block": 96_055_040,
             "up_blocks": 505_634_880, "conv_norm_out": 640, "conv_out": 11_524}
    assert {name: count(getattr(unet, name)) for name in parts} == parts
    expected = {
        "conv_in.weight": (320, 8, 3, 3), "conv_out.weight": (4, 320, 3, 3), "time_embedding.linear_1.weight": (1280, 320),
        "down_blocks.1.resnets.0.conv_shortcut.weight": (640, 320, 1, 1), "down_blocks.2.downsamplers.0.conv.weight": (1280, 1280, 3, 3),
        "mid_block.attentions.0.proj_in.weight": (1280, 1280, 1, 1), "up_blocks.1.resnets.2.conv1.weight": (1280, 1920, 3, 3),
        "up_blocks.3.resnets.0.time_emb_proj.weight": (320, 1280), "up_blocks.2.upsamplers.0.conv.weight": (640, 640, 3, 3),
        "up_blocks.2.attentions.0.transformer_blocks.0.attn2.to_v.weight": (640, 384),
        "down_blocks.0.attentions.1.transformer_blocks.0.ff.net.0.proj.weight": (2560, 320)}
    assert {key: shapes.get(key) for key in expected} == expected
    assert expected_shapes() == shapes


def test_the_vae_and_the_audio_encoder_are_those_of_the_tables(full: tuple) -> None:
    _, vae, whisper = full
    assert count(vae) == 83_653_863
    assert count(vae.encoder) == 34_163_592 and count(vae.decoder) == 49_490_179
    assert vae.config.scaling_factor == 0.18215                      # the published config.json does not say it
    assert count(whisper) == 8_208_384


def test_the_unet_is_recognised_by_its_tensors(full: tuple) -> None:
    unet, vae, whisper = full
    shapes = shapes_of(unet)
    assert detect(shapes)
    with torch.device("meta"):
        others = [vae, whisper, build(preset("tiny", size=64)), diffusers.UNet2DConditionModel.from_config(UNET | {"in_channels": 9}),
                  diffusers.UNet2DConditionModel.from_config(UNET | {"cross_attention_dim": 768})]
    assert not any(detect(shapes_of(other)) for other in others) and not detect({})


# -- what it hears -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.3, 3.0])
def test_the_mel_is_that_of_whisper(babble: np.ndarray, seconds: float) -> None:
    samples = babble[8000:8000 + int(seconds * 16_000)]
    theirs = transformers.WhisperFeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt").input_features[0]
    ours = whisper_mel(samples, 3000)
    assert ours.shape == theirs.shape == (80, 3000) and torch.allclose(ours, theirs, atol=2e-3)


def test_all_hidden_states_are_heard(network: MuseTalkNetwork) -> None:
    mel = torch.randn(1, 80, 2 * PIECE, generator=torch.Generator().manual_seed(0))
    heard = network.hear(mel)[0]
    assert heard.shape == (PIECE, 3, 16)
    whisper = network.whisper
    first = torch.nn.functional.gelu(whisper.conv2(torch.nn.functional.gelu(whisper.conv1(mel))))[0].T + whisper.embed_positions.weight
    assert torch.allclose(heard[:, 0], first, atol=1e-5)
    assert torch.allclose(heard[:, -1], whisper(mel).last_hidden_state[0], atol=1e-5)


def test_positions_are_sinusoids() -> None:
    table = positions(50, 384)
    assert table.shape == (50, 384)
    for place, i in ((0, 0), (1, 0), (7, 20), (49, 191)):
        angle = place / 10_000 ** (2 * i / 384)
        assert table[place, 2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[place, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)


def everything(samples: np.ndarray, network: MuseTalkNetwork) -> torch.Tensor:
    """The states of a whole recording (steps, layers, d), piece after piece."""
    pieces = [samples[first:first + PIECE * 320] for first in range(0, len(samples), PIECE * 320)]
    heard = torch.cat([network.hear(whisper_mel(piece, 2 * PIECE)[None])[0] for piece in pieces])
    return heard[:len(samples) * 50 // 16_000]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(60)])
def test_a_window_is_ten_steps_around_the_moment_at_any_rate(network: MuseTalkNetwork, babble: np.ndarray, rate: Fraction) -> None:
    """Four before the frame's own step and five after it, zeros beyond the recording."""
    samples = babble[:int(2.5 * 16_000)]
    with torch.inference_mode():
        states = torch.nn.functional.pad(everything(samples, network), (0, 0, 0, 0, 4, 400))
        frames = range(0, int(3 * rate), 7)
        windows = Sound(samples).windows(np.array([float(f / rate) for f in frames]), np.ones(len(frames)), network)
    for window, frame in zip(windows, frames):
        first = math.floor(frame * 50 / rate)
        assert torch.allclose(window, states[first:first + 10], atol=1e-5)
    assert not windows[-1].any() and not windows[0, :4].any() and windows[0, 4:].any()


def test_the_order_of_asking_changes_nothing_and_few_pieces_are_kept(network: MuseTalkNetwork, babble: np.ndarray) -> None:
    samples, times = np.tile(babble, 3), np.arange(0, 9, 0.25)
    sound = Sound(samples)
    with torch.inference_mode():
        forth = torch.cat([sound.windows(times[i:i + 1], np.ones(1), network) for i in range(len(times))])
        assert len(sound._kept) == KEPT
        back = torch.cat([sound.windows(times[i:i + 1], np.ones(1), network) for i in reversed(range(len(times)))])
        at_once = Sound(samples).windows(times, np.ones(len(times)), network)
    assert torch.allclose(forth, back.flip(0), atol=1e-5) and torch.allclose(forth, at_once, atol=1e-5)


# -- the network -------------------------------------------------------------------------------------------------------------


def test_the_lower_half_is_hidden_before_the_pixels_are_scaled(network: MuseTalkNetwork) -> None:
    seen: list[torch.Tensor] = []
    hook = network.vae.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    faces = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        network(faces, torch.zeros(2, 10, 3, 16))
    hook.remove()
    hidden, whole = seen[0].chunk(2)
    assert torch.equal(whole, faces * 2 - 1) and torch.equal(hidden[:, :, :MASK_ROW], whole[:, :, :MASK_ROW])
    assert (hidden[:, :, MASK_ROW:] == -1).all()


def items(count: int, rate: float = 25.0, activation: float = 1.0) -> list[GeneratorItem]:
    rng = np.random.default_rng(1)
    points = rng.uniform(20, 230, (68, 2)).astype(np.float32)
    return [GeneratorItem(FaceCrop(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), np.eye(3)[:2], points), 0.6 + i / rate, i,
                          np.ones((SIZE, SIZE), np.float32), activation) for i in range(count)]


def somebody() -> Person:
    ones = np.ones(1, np.float32)
    return Person(FaceTrack(np.zeros(1, int), np.zeros(1), np.zeros((1, 4), np.float32), np.zeros((1, 68, 2), np.float32), ones,
                            np.zeros((1, 3), np.float32), ones))


def faces_of(generator: MuseTalkGenerator, batch: list[GeneratorItem], samples: np.ndarray, drive: Drive | None = None) -> list:
    return generator.generate(batch, generator.start(somebody(), generator.hear(Speech(samples)), drive or Drive(), Hooks()))


def test_a_clip_in_one_batch_or_in_ten(generator: MuseTalkGenerator, babble: np.ndarray) -> None:
    """And frames that are left out shift no other: each has its own moment and its own reference. In double precision, so that what
    differs is not rounding."""
    generator = MuseTalkGenerator(deepcopy(generator.network).double())
    batch = items(4)
    whole = faces_of(generator, batch, babble)
    state = generator.start(somebody(), generator.hear(Speech(babble)), Drive())
    single = [generator.generate([item], state)[0] for item in batch]
    without = faces_of(generator, batch[:1] + batch[3:], babble)
    assert all(face.pixels.shape == (SIZE, SIZE, 3) and face.pixels.dtype == np.float32 for face in whole)
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, single)) < 1e-3
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole[:1] + whole[3:], without)) < 1e-3
    assert max(np.abs(a.pixels - b.pixels).max() for a, b in zip(whole, whole[1:])) > 1


def test_a_still_picture_stays_still(generator: MuseTalkGenerator, babble: np.ndarray) -> None:
    """The mode of the latents, no sample of them."""
    item = items(1)[0]
    first, second = (faces_of(generator, [item], babble)[0] for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)


def test_what_may_change_is_the_lower_half(generator: MuseTalkGenerator, babble: np.ndarray) -> None:
    mask = faces_of(generator, items(1), babble)[0].mask
    assert not mask[:MASK_ROW].any() and mask[MASK_ROW + 12:-12, 12:-12].min() == 1
    assert max(mask[-1].max(), mask[:, 0].max(), mask[:, -1].max(), mask[MASK_ROW].max()) < 0.02
    half, none = (faces_of(generator, items(1, activation=share), babble)[0].mask for share in (0.5, 0.0))
    assert np.array_equal(half, mask * np.float32(0.5)) and not none.any()


def test_drive(generator: MuseTalkGenerator, babble: np.ndarray) -> None:
    """Strength 0 hears silence, and so do pauses with 'close'; 'keep' leaves the source in them."""
    spoken = items(1)
    pause = [GeneratorItem(spoken[0].crop, 0.1, 0, spoken[0].region)]

    def pixels(batch: list, drive: Drive, samples: np.ndarray = babble) -> np.ndarray:
        return faces_of(generator, batch, samples, drive)[0].pixels

    silence = np.zeros_like(babble)
    nothing = pixels(spoken, Drive(silence="generate"), silence)
    assert np.array_equal(nothing, pixels(spoken, Drive(0.0, "generate"), silence))
    shut, usual, strong = (pixels(spoken, Drive(strength, "generate")) for strength in (0.0, 1.0, 2.0))
    assert np.abs(usual - shut).max() > 0.01 and np.abs(strong - shut).max() > np.abs(usual - shut).max()
    assert np.array_equal(pixels(pause, Drive(silence="close")), pixels(pause, Drive(0.0)))
    assert not np.array_equal(pixels(pause, Drive(silence="close")), pixels(pause, Drive(silence="generate")))
    assert not faces_of(generator, pause, babble, Drive(silence="keep"))[0].mask.any()
    assert faces_of(generator, spoken, babble, Drive(silence="keep"))[0].mask.max() > 0.9


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_says_the_same(published: Path, generator: MuseTalkGenerator, babble: np.ndarray, precision: str) -> None:
    half = create(published, {"precision": precision, "batch": "3"})
    assert {p.dtype for p in half.network.parameters()} == {torch.float16 if precision == "fp16" else torch.bfloat16}
    assert half.spec.batch_size == 3
    (small,), (usual,) = (faces_of(one, items(1), babble) for one in (half, generator))
    assert np.abs(small.pixels - usual.pixels).mean() < 255 * 0.02


# -- files -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convolutions", [False, True])
def test_old_names_of_the_vae_give_the_same(convolutions: bool) -> None:
    torch.manual_seed(2)
    vae = diffusers.AutoencoderKL.from_config(SMALL_VAE).eval()
    old = old_names(vae.state_dict(), convolutions)
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in old and "decoder.mid_block.attentions.0.query.bias" in old
    again = diffusers.AutoencoderKL.from_config(SMALL_VAE).eval()
    again.load_state_dict(modern_attention(old))
    assert modern_attention(vae.state_dict()).keys() == vae.state_dict().keys()
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(vae.encode(picture).latent_dist.mode(), again.encode(picture).latent_dist.mode())


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "musetalk"))


def test_the_folder_or_the_file_in_it(copy: Path) -> None:
    unet = copy / "musetalkV15" / "unet.pth"
    assert find(copy) == find(unet) == find(copy / "musetalkV15")
    assert find(copy).unet.config == copy / "musetalkV15" / "musetalk.json"
    assert find(copy).whisper.weights == copy / "whisper" / "pytorch_model.bin"
    made = create_generator(copy, {"batch": "2"})
    assert (made.spec.name, made.spec.crop, made.spec.crop_size, made.spec.batch_size) == ("musetalk", "nose", 256, 2)


def test_version_1_0_the_hubs_folder_names_and_safetensors(copy: Path, generator: MuseTalkGenerator) -> None:
    """And, as training leaves it, names that begin with `module.`, in a `state_dict`."""
    (copy / "musetalkV15").rename(copy / "musetalk")
    weights = torch.load(copy / "musetalk" / "unet.pth", weights_only=True)
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, copy / "musetalk" / "pytorch_model.bin")
    (copy / "musetalk" / "unet.pth").unlink()
    (copy / "sd-vae").rename(copy / "sd-vae-ft-mse")
    vae = copy / "sd-vae-ft-mse" / "diffusion_pytorch_model.bin"
    save_file(torch.load(vae, weights_only=True), vae.with_suffix(".safetensors"))
    vae.unlink()
    assert find(copy).unet.weights == copy / "musetalk" / "pytorch_model.bin"
    ours, again = generator.network.state_dict(), create(copy / "musetalk" / "pytorch_model.bin").network.state_dict()
    assert ours.keys() == again.keys() and all(torch.equal(ours[key], again[key]) for key in ours)


def test_version_1_5_goes_before_1_0(copy: Path) -> None:
    (copy / "musetalk").mkdir()
    shutil.copy(copy / "musetalkV15" / "musetalk.json", copy / "musetalk" / "musetalk.json")
    shutil.copy(copy / "musetalkV15" / "unet.pth", copy / "musetalk" / "pytorch_model.bin")
    assert find(copy).unet.weights.parent.name == "musetalkV15"


@pytest.mark.parametrize(("missing", "source"), [
    ("musetalkV15/unet.pth", "TMElyralab/MuseTalk"), ("musetalkV15/musetalk.json", "TMElyralab/MuseTalk"),
    ("sd-vae/config.json", "stabilityai/sd-vae-ft-mse"), ("sd-vae/diffusion_pytorch_model.bin", "stabilityai/sd-vae-ft-mse"),
    ("whisper/config.json", "openai/whisper-tiny"), ("whisper/pytorch_model.bin", "openai/whisper-tiny")])
def test_a_missing_file_is_named_with_its_place_and_its_source(copy: Path, missing: str, source: str) -> None:
    (copy / missing).unlink()
    for path in (copy, copy / "musetalkV15" / "unet.pth"):
        with pytest.raises(CheckpointError) as error:
            create(path)
        assert str(copy / missing) in str(error.value) and source in str(error.value) and str(error.value).count("from") == 1


def test_everything_missing_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        create(tmp_path)
    assert all(str(tmp_path / place) in str(error.value) for place in ("musetalkV15/unet.pth", "sd-vae/config.json", "whisper/config.json"))


def test_damaged_and_foreign_files_are_refused(copy: Path) -> None:
    unet, config = copy / "musetalkV15" / "unet.pth", copy / "musetalkV15" / "musetalk.json"
    bytes_before = unet.read_bytes()
    for content, said in ((bytes_before[:1000], "can't be read"), (b"version https://git-lfs.github.com/spec/v1", "can't be read")):
        unet.write_bytes(content)
        with pytest.raises(CheckpointError, match=said):
            create(copy)
    torch.save([1, 2], unet)
    with pytest.raises(CheckpointError, match="no tensors"):
        create(copy)
    torch.save({"a": torch.zeros(1)}, unet)
    with pytest.raises(CheckpointError, match="musetalk.json describes"):
        create(copy)
    unet.write_bytes(bytes_before)
    config.write_text(json.dumps(SMALL_UNET | {"cross_attention_dim": 24}))
    with pytest.raises(CheckpointError, match="describes"):
        create(copy)
    config.write_text("{")
    with pytest.raises(CheckpointError, match="does not describe MuseTalk's UNet"):
        create(copy)


def test_an_encoder_of_another_width_is_refused(copy: Path) -> None:
    torch.manual_seed(0)
    wide = SMALL_WHISPER | {"d_model": 32}
    (copy / "whisper" / "config.json").write_text(json.dumps(wide))
    torch.save(musetalk_networks(SMALL_UNET, SMALL_VAE, wide)[2].state_dict(), copy / "whisper" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="width 32 .* one of 16: use whisper-tiny"):
        create(copy)


def test_without_the_packages_one_sentence_says_how_to_get_them(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(LipSyncError, match="pip install -r requirements-musetalk.txt"):
        create(published)


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"batch": "0"}, {"batch": "many"}, {"device": "toaster"}, {"steps": "20"}])
def test_wrong_options_are_refused(published: Path, options: dict) -> None:
    with pytest.raises(LipSyncError, match=": use "):
        create(published, options)


# -- the pipeline ------------------------------------------------------------------------------------------------------------


def test_a_dub_changes_mouths_and_nothing_else(generator: MuseTalkGenerator, astronaut: np.ndarray, babble: np.ndarray,
                                               tmp_path: Path) -> None:
    check_only_mouths_change(generator, astronaut, babble[8000:24_000], tmp_path)
