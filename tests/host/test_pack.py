"""The pack as the host sees it: it loads, quickly and quietly, and describes itself."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error

import pytest
from host.comfy import PACK, Server, import_of_pack

NODES = {
    "OpenLipSyncLoadAudio": ("Load & Resample Audio", "file start duration channel normalise audio", "speech:AUDIO original:AUDIO"),
    "OpenLipSyncLoadGenerator": ("Load Generator", "name options restorer restorer_strength", "generator:LIPSYNC_GENERATOR"),
    "OpenLipSyncDetectFaces": ("Detect & Crop Faces", "images fps face number x y detector smoothing landmarks",
                               "faces:LIPSYNC_FACES crops:IMAGE region:MASK"),
    "OpenLipSyncGenerate": ("Generate Lip Sync", "faces strength silence offset_ms batch_size generator audio voices speakers"
                            " bypass",
                            "faces:LIPSYNC_FACES mouths:IMAGE"),
    "OpenLipSyncBlend": ("Blend Back", "images faces feather mask_grow colour_match", "images:IMAGE mask:MASK"),
    "OpenLipSyncDubVideo": ("Dub Video", "video generator audio voices speakers face number x y strength silence offset_ms extend_video"
                            " extend_seconds extend_audio bypass detector smoothing feather mask_grow colour_match batch_size codec crf"
                            " mark overlay", "video:VIDEO report:STRING"),
    "OpenLipSyncVoice": ("Voice", "audio number offset who voices", "voices:LIPSYNC_VOICES"),
    "OpenLipSyncWhoSpeaks": ("Who Speaks", "mode text file faces audio", "speakers:LIPSYNC_SPEAKERS text:STRING turns:STRING"),
    "OpenLipSyncPreviewFaces": ("Preview Faces", "source faces count longest_side", "pictures:IMAGE"),
    "OpenLipSyncSample": ("Sample Clip", "", "video:VIDEO audio:AUDIO"),
    "OpenLipSyncEvaluate": ("Evaluate Lip Sync", "dubbed audio source truth", "table:STRING plot:IMAGE"),
}
"""Node id: (display name, inputs in order, outputs in order). Saved workflows depend on all of it: a change here breaks users' files."""

RANGES = {"strength": (0, 2), "offset_ms": (-1000, 1000), "number": (0, 31), "smoothing": (0, 3), "feather": (0.02, 0.6),
          "mask_grow": (-0.1, 0.3), "batch_size": (1, 64), "crf": (0, 51), "fps": (1, 240), "count": (0, 64), "offset": (-36000, 36000),
          "extend_seconds": (0, 100000)}


def inputs_of(server: Server, node: str) -> dict[str, list]:
    info = server.info[node]
    return {name: info["input"][group][name] for group in ("required", "optional") for name in info["input_order"].get(group, [])}


def test_it_loads_quickly_and_without_a_word(server: Server) -> None:
    log = server.start_log
    line = import_of_pack(log)
    assert "IMPORT FAILED" not in line, log[-4000:]
    # The host rounds to a tenth of a second: 0.0 (less than 50 ms) where nothing else runs, and a tenth more for a busy machine.
    assert re.search(r"\b0\.[01] seconds", line), line
    assert "Error while calling comfy_entrypoint" not in log and "Traceback" not in log, log[-4000:]


def test_its_nodes_are_there_and_nothing_else_is(server: Server) -> None:
    ours = {name for name, info in server.info.items() if info["python_module"] == f"custom_nodes.{PACK}"}
    assert ours == set(NODES)


@pytest.mark.parametrize("node", NODES)
def test_names_inputs_and_outputs_are_those_of_saved_workflows(server: Server, node: str) -> None:
    info, (name, inputs, outputs) = server.info[node], NODES[node]
    assert info["display_name"] == name and info["category"] == "OpenLipSync"
    assert list(inputs_of(server, node)) == inputs.split()
    assert [f"{n}:{kind}" for n, kind in zip(info["output_name"], info["output"])] == outputs.split()


@pytest.mark.parametrize("node", NODES)
def test_every_socket_and_widget_explains_itself(server: Server, node: str) -> None:
    info = server.info[node]
    assert len(info["description"]) > 20 and info["search_aliases"]
    silent = [name for name, spec in inputs_of(server, node).items() if not spec[1].get("tooltip")]
    assert not silent, f"inputs without a tooltip: {silent}"
    assert len(info["output_tooltips"]) == len(info["output"]) and all(info["output_tooltips"])


@pytest.mark.parametrize("node", NODES)
def test_numbers_have_limits_and_a_default_within_them(server: Server, node: str) -> None:
    for name, (kind, details, *_) in inputs_of(server, node).items():
        if kind not in ("INT", "FLOAT"):
            continue
        assert details["min"] <= details["default"] <= details["max"], name
        if name in RANGES:
            assert (details["min"], details["max"]) == RANGES[name], name


def test_experts_knobs_are_folded_away(server: Server) -> None:
    advanced = {name for name, spec in inputs_of(server, "OpenLipSyncDubVideo").items() if spec[1].get("advanced")}
    assert advanced == set("extend_audio bypass detector smoothing feather mask_grow colour_match batch_size codec crf mark"
                           " overlay".split())


def test_generators_come_from_the_hosts_folder_and_from_extra_model_paths(server: Server) -> None:
    spec = inputs_of(server, "OpenLipSyncLoadGenerator")["name"]
    names = spec[1].get("options", spec[0])
    assert names == ["morph (built in)", "LipSyncNet (built in)", "broken.safetensors", "musetalk/musetalkV15/unet.pth",
                     "random_wav2lip.pth", "small network.safetensors", "unknown.safetensors"]      # no readme.txt, no VAE
    assert all(name in spec[1]["tooltip"] for name in names)          # with size and licence


def test_help_pages_workflows_and_translations_are_served(server: Server) -> None:
    missing = []
    for node in NODES:
        try:
            server.fetch(f"/extensions/{PACK}/docs/{node}.md")
        except urllib.error.HTTPError:
            missing.append(node)
    assert not missing, f"no web/docs page for {missing}"
    assert sorted(server.get("/workflow_templates")[PACK]) == sorted(file.stem for file in (server.pack / "workflows").glob("*.json"))
    assert any(entry["source"] == "custom_node" for entry in server.get("/global_subgraphs").values())
    translations = server.get("/i18n")
    for language in ("en", "zh", "ja", "ko", "es", "fr", "de"):
        assert set(NODES) <= set(translations[language]["nodeDefs"]), language


@pytest.mark.parametrize("statement", [f"import {PACK}", f"import {PACK}.lipsync_core", f"import {PACK}.lipsync_core as l; l.dub"])
def test_it_imports_where_there_is_no_host(server: Server, statement: str) -> None:
    """As pytest, an IDE or a program that uses the library does; in this environment, which has no ComfyUI."""
    done = subprocess.run([sys.executable, "-c", statement], cwd=server.pack.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
