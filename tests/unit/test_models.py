"""Checkpoint files: the catalogue, what lies in the model folder, and converting."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lipsync_core.cli import main
from lipsync_core.dubbing import DubOptions
from lipsync_core.errors import CheckpointError, LipSyncError, OutputError
from lipsync_core.generators import create_generator
from lipsync_core.generators.architectures import ARCHITECTURES, OTHERS
from lipsync_core.generators.lipsyncnet import build, preset
from lipsync_core.generators.lipsyncnet.checkpoint import save
from lipsync_core.generators.musetalk import layout
from lipsync_core.models import CATALOGUE, by_name, catalogue, find_model, find_restorer, match, models_folder
from lipsync_core.models.brief import describe, may_be_generator
from lipsync_core.models.catalogue import COMMERCIAL, KnownFile, KnownModel, Source, size_text
from lipsync_core.models.convert import convert
from lipsync_core.models.download import plan
from lipsync_core.models.folder import VARIABLE
from lipsync_core.models.installed import installed

EXPERT = {mark: torch.ones(3) for mark in next(item for item in OTHERS if item.name == "wav2lip-expert").marks}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A small LipSyncNet with a card, in a folder of its own."""
    file = tmp_path / "models" / "ours.safetensors"
    file.parent.mkdir()
    save(build(preset("tiny", size=64)), file, {"licence": "CC0-1.0", "commercial_use": "yes"})
    return file


def known_as(monkeypatch: pytest.MonkeyPatch, file: Path) -> KnownModel:
    """The file becomes a published one: the catalogue holds nothing else."""
    content = file.read_bytes()
    known = KnownFile("published.pth", (Source("someone/something", "published.pth"),), len(content),
                      sha256=hashlib.sha256(content).hexdigest())
    model = KnownModel("published", "Something published", "wav2lip-expert", "for research only", "no", (known,))
    monkeypatch.setattr(catalogue, "CATALOGUE", (model,))
    return model


# -- catalogue --------------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_sound() -> None:
    names = [model.name for model in CATALOGUE]
    files = [file for model in CATALOGUE for file in model.files]
    assert len(set(names)) == len(names) and len({file.path for file in files}) == len(files)
    assert {model.architecture for model in CATALOGUE} <= {item.name for item in (*ARCHITECTURES, *OTHERS)}
    assert all(model.commercial in COMMERCIAL and model.licence and set(model.needs) <= set(names) for model in CATALOGUE)
    assert all(file.sources and (file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)) for file in files)
    assert all(model.commercial == "no" for model in CATALOGUE if model.name.startswith("wav2lip"))


def test_names_are_explained() -> None:
    assert by_name("wav2lip-gan").files[0].name == "wav2lip_gan.pth"
    with pytest.raises(LipSyncError, match="maybe 'musetalk-1.5' is meant: use one of wav2lip-gan, "):
        by_name("musetalk1.5")


def test_known_files_are_told_by_size_and_place() -> None:
    assert match("renamed.pt", 435_801_865)[0].name == "wav2lip-gan"
    assert match("wav2lip_gan.pth", 145_000_000) is None              # a file of that name may be anybody's
    assert match("musetalk\\musetalkV15\\unet.pth", 3_400_100_000)[0].name == "musetalk-1.5"
    assert match("somewhere/unet.pth", 3_400_100_000) is None and match("musetalk/musetalkV15/unet.pth", 1000) is None
    assert match("syncnet_v2.model", 54_573_114)[0].name == "syncnet"
    assert [size_text(size) for size in (435_801_865, 3_400_000_000, 1_500, 12)] == ["436 MB", "3.4 GB", "1.5 kB", "12 bytes"]


@pytest.mark.parametrize("version", ["1.5", "1.0"])
def test_musetalks_files_go_where_musetalk_looks_for_them(tmp_path: Path, version: str) -> None:
    for item in plan(f"musetalk-{version}", tmp_path):
        item.target.parent.mkdir(parents=True, exist_ok=True)
        item.target.write_bytes(b"x")
    files = layout.find(tmp_path / "musetalk")
    assert files.unet.weights.name == ("unet.pth" if version == "1.5" else "pytorch_model.bin")
    assert plan(f"musetalk-{version}", tmp_path) == [] and len(plan(f"musetalk-{version}", tmp_path, force=True)) == 2


# -- folder -----------------------------------------------------------------------------------------------------------------


def test_where_models_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    pack = tmp_path / "My ComfyUI" / "custom_nodes" / "OpenLipSync"
    pack.mkdir(parents=True)
    assert models_folder(pack=pack) == Path("models/lipsync")         # a folder of that name makes no ComfyUI
    (tmp_path / "My ComfyUI" / "folder_paths.py").touch()
    assert models_folder(pack=pack) == tmp_path / "My ComfyUI" / "models" / "lipsync"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert models_folder(pack=pack) == tmp_path / "elsewhere" and models_folder("given", pack) == Path("given")


def test_a_model_is_found_by_its_name(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(ours.parent))
    assert find_model("ours.safetensors") == str(ours) and find_model(str(ours)) == str(ours)
    assert find_model("morph") == "morph" and find_model("theirs.pth") == "theirs.pth"


def test_a_model_is_found_by_what_download_calls_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for find, name, path in ((find_model, "musetalk-1.5", "musetalk/musetalkV15/unet.pth"),
                             (find_restorer, "gfpgan", "facerestore/GFPGANv1.4.pth")):
        with pytest.raises(LipSyncError, match=f"is not in .*: python -m lipsync_core download {name}"):
            find(name)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
        assert find(name) == str(tmp_path / path)


def test_what_is_installed(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ours.parent
    (folder / "sub").mkdir()
    torch.save({"state_dict": {f"module.{name}": value for name, value in EXPERT.items()}}, folder / "sub" / "renamed.pt")
    (folder / "broken.pth").write_text("this is no checkpoint")
    save_file({"first.weight": torch.ones(2)}, folder / "strange.safetensors")
    for left_out in ("readme.txt", "wav2lip.pth.partial"):
        (folder / left_out).touch()
    known_as(monkeypatch, folder / "sub" / "renamed.pt")
    told = {item.name: item for item in installed(folder)}
    assert list(told) == ["broken.pth", "ours.safetensors", "strange.safetensors", "sub/renamed.pt"]
    assert [item.generator for item in told.values()] == [False, True, False, False]
    assert (told["ours.safetensors"].recognised, told["ours.safetensors"].licence, told["ours.safetensors"].commercial) == (
        "LipSyncNet", "CC0-1.0", "yes")
    assert "can be read safely" in told["broken.pth"].recognised and "begins with first.weight" in told["strange.safetensors"].recognised
    renamed = told["sub/renamed.pt"]
    assert "sync expert" in renamed.recognised and (renamed.licence, renamed.commercial) == ("for research only", "no")
    assert "--verify" in renamed.identity and not renamed.verified
    checked = {item.name: item for item in installed(folder, verify=True)}
    assert [item.verified for item in checked.values()] == [False, False, False, True]
    assert "published.pth as published" in checked["sub/renamed.pt"].identity and "hash not known" in checked["broken.pth"].identity


def test_a_file_as_long_as_the_published_one_is_not_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tampered.pth"
    torch.save(EXPERT, file)
    known_as(monkeypatch, file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    (item,) = installed(tmp_path, verify=True)
    assert item.identity.startswith("NOT the published published.pth") and not item.verified


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(installed(tmp_path / "nowhere")) == []
    assert main(["models", "--folder", str(tmp_path / "nowhere")]) == 0
    said = capsys.readouterr().out
    assert "no such folder" in said and "morph" in said and all(model.name in said for model in CATALOGUE)


def test_the_command_tells_licences(ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--folder", str(ours.parent), "--verify", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"ours.safetensors, .*\n.*LipSyncNet\n.*commercial use allowed; licence: CC0-1.0\n.*SHA-256 [0-9a-f]{64}", said)
    assert re.search(r"wav2lip-gan: .* 436 MB\n.*NO commercial use", said)


# -- at a glance ------------------------------------------------------------------------------------------------------------


def test_what_a_node_offers(ours: Path) -> None:
    """Parts of MuseTalk and scorers are no choice; what nobody knows is, and is explained when it is chosen."""
    folder = ours.parent
    offered = {"ours.safetensors": True, "finetuned.pth": True, "musetalk/musetalkV15/unet.pth": True, "expert.safetensors": False,
               "musetalk/sd-vae/diffusion_pytorch_model.bin": False, "musetalk/whisper/model.safetensors": False,
               "musetalk/dwpose/dw-ll_ucoco_384.pth": False, "s3fd.pth": False}
    for name in offered:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).write_bytes(b"?")
    save_file(EXPERT, folder / "expert.safetensors")
    assert {name: may_be_generator(name, folder / name) for name in offered} == offered


def test_what_a_tooltip_tells(ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"ours.safetensors: [\d.]+ MB, licence: CC0-1.0, commercial use allowed", describe(ours.name, ours))
    file = tmp_path / "mine.pth"
    torch.save(EXPERT, file)
    assert describe("mine.pth", file).endswith("licence not known") and describe("gone.pth", tmp_path / "gone.pth") == "gone.pth: gone"
    known_as(monkeypatch, file)
    assert describe("mine.pth", file).endswith("Something published, NO commercial use (for research only)")


# -- convert ----------------------------------------------------------------------------------------------------------------


def test_a_training_file_becomes_weights_with_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = tmp_path / "trained.pth", tmp_path / "out" / "weights.safetensors"
    state = EXPERT | {"steps": torch.tensor(7), "large": torch.tensor([1.0, 1e6]), "tied": next(iter(EXPERT.values()))}
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "optimizer": {"state": torch.zeros(1000)},
                "global_step": 7}, source)
    known_as(monkeypatch, source)
    done = convert(source, output, half=True)
    made = load_file(output)
    assert made.keys() == state.keys() and all(torch.equal(made[name].to(value.dtype), value) for name, value in state.items())
    assert [made[name].dtype for name in ("tied", "steps", "large")] == [torch.float16, torch.int64, torch.float32]
    assert (done.tensors, done.kept_whole) == (5, 1) and done.after < done.before and "sync expert" in done.recognised
    with safe_open(output, "pt") as file:
        card = file.metadata()
    assert (card["architecture"], card["card.source_file"], card["card.licence"], card["card.commercial_use"], card["card.source"]) == (
        "wav2lip-expert", "trained.pth", "for research only", "no", "Something published")
    assert card["card.source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert [path.name for path in output.parent.iterdir()] == ["weights.safetensors"]


def test_a_lipsyncnet_keeps_its_own_description(ours: Path, tmp_path: Path) -> None:
    convert(ours, tmp_path / "half.safetensors", half=True)
    before, after = (create_generator(file).network for file in (ours, tmp_path / "half.safetensors"))
    assert after.config == before.config
    assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-3) for a, b in zip(after.state_dict().values(), before.state_dict().values()))
    assert "CC0-1.0" in describe("half.safetensors", tmp_path / "half.safetensors")


def test_what_convert_refuses(tmp_path: Path) -> None:
    source, there, text = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "text.pth"
    save_file(EXPERT, source)
    there.write_bytes(b"precious")
    text.write_text("not a checkpoint")
    for file, output, error, words in ((source, there, OutputError, "--force"), (source, source, OutputError, "the file that is read"),
                                       (source, tmp_path / "b.pth", OutputError, "another ending"),
                                       (tmp_path / "none.pth", there, CheckpointError, "There is no file"),
                                       (text, tmp_path / "c.safetensors", CheckpointError, "can't be read")):
        with pytest.raises(error, match=words) as caught:
            convert(file, output)
        assert "\n" not in str(caught.value)
    assert there.read_bytes() == b"precious" and not (tmp_path / "c.safetensors").exists()
    assert main(["convert", str(source), str(there), "--force", "--quiet"]) == 0
    assert load_file(there).keys() == EXPERT.keys()


# -- dub --------------------------------------------------------------------------------------------------------------------


def test_dub_takes_a_models_name_and_its_options(ours: Path, face_clip: Path, babble_file: Path, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(VARIABLE, str(ours.parent))
    command = ["dub", str(face_clip), str(babble_file), "-o", str(tmp_path / "out.mp4"), "--duration", "0.2", "--quiet", "--generator",
               "ours.safetensors", "--generator-options"]
    for option, words in (("sise=1", "has no option 'sise': use precision, device"), ("sise", "write KEY=VALUE")):
        assert main([*command, option]) == 1
        assert words in capsys.readouterr().err
    assert main([*command, "precision=bf16"]) == 0 and (tmp_path / "out.mp4").stat().st_size > 1000
    with pytest.raises(LipSyncError, match="set up already"):
        DubOptions(generator=create_generator(), generator_options={"precision": "bf16"}).check()
