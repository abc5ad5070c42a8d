"""What the registry, the Manager and pip read of this pack."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from wheel import build_wheel

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = {"__init__.py", "CHANGELOG.md", "LICENSE", "LICENSES", "NOTICE", "README.md", "lipsync_core", "locales", "nodes",
           "pyproject.toml", "requirements.txt", "subgraphs", "web", "workflows", ".comfyignore", ".gitignore"}
"""What the registry's archive may hold at its top."""


def section(name: str) -> str:
    """The text of a table of pyproject.toml (Python 3.10 has no tomllib)."""
    return re.search(rf"^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S)[1]


def test_dependencies_are_said_twice_and_alike() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")[:-1]
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", section("project"), re.M | re.S)[1]
    assert re.findall(r'"(.+)"', listed) == lines
    # The Manager installs line by line: one plain specifier each.
    assert all(re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+", line) for line in lines)


@pytest.mark.parametrize("extra", ["service", "cluster", "sign"])
def test_the_extras_dependencies_are_said_twice_and_alike(extra: str) -> None:
    lines = (ROOT / f"requirements-{extra}.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    listed = re.search(rf"^optional-dependencies.{extra} = \[\n(.*?)^\]", section("project"), re.M | re.S)[1]
    assert re.findall(r'"(.+)"', listed) == lines


def test_the_version_is_said_twice_and_alike() -> None:
    said = re.search(r'^__version__ = "(.+)"', (ROOT / "lipsync_core" / "__init__.py").read_text(encoding="utf-8"), re.M)[1]
    assert re.search(r'^version = "(.+)"', section("project"), re.M)[1] == said


def test_the_dockerfile_has_nothing_that_its_linter_minds() -> None:
    linter = Path(sys.executable).with_name("hadolint.exe" if sys.platform == "win32" else "hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed here: the Dockerfile was not linted")
    subprocess.run([str(linter), str(ROOT / "Dockerfile")], check=True)


def test_the_registry_finds_what_it_wants() -> None:
    project, comfy = section("project"), section("tool.comfy")
    name = re.search(r'^name = "(.+)"', project, re.M)[1]
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,99}", name) and "comfyui" not in name
    assert re.search(r'^version = "\d+\.\d+\.\d+"', project, re.M) and 'license = { file = "LICENSE" }' in project
    assert re.search(r'^PublisherId = ".+"', comfy, re.M) and re.search(r'^DisplayName = ".+"', comfy, re.M)
    assert re.search(r'^requires-comfyui = ">=\d+\.\d+\.\d+"', comfy, re.M)


def test_the_archive_has_the_nodes_and_not_the_tests() -> None:
    """.comfyignore has .gitignore's syntax; git itself says what it leaves out."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("what the archive holds can't be told: git, and a checkout, list the files, and one of them is missing here")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    ignored = subprocess.run(["git", "ls-files", "-i", "-c", "-X", ".comfyignore"], cwd=ROOT, capture_output=True, text=True, check=True)
    kept = set(tracked.stdout.splitlines()) - set(ignored.stdout.splitlines())
    assert {"__init__.py", "nodes/dub.py", "requirements.txt", "pyproject.toml", "LICENSE", "README.md",
            "web/docs/OpenLipSyncDubVideo.md", "locales/en/nodeDefs.json", "workflows/quick_dub.json",
            "NOTICE", "LICENSES/Moonshine-MIT.txt", "lipsync_core/weights/articulation.safetensors",
            "lipsync_core/weights/speech_encoder.safetensors"} <= kept
    assert {file.split("/")[0] for file in kept} <= ARCHIVE
    assert sum((ROOT / file).stat().st_size for file in kept if (ROOT / file).exists()) < 40 << 20       # 26 MB as a zip file


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(tmp_path: Path) -> None:
    if importlib.util.find_spec("setuptools") is None or int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools 77 is not installed here: no wheel was built")
    wheel = build_wheel(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < 30_000_000
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"lipsync_core"}
    assert {Path(name).suffix for name in names if ".dist-info" not in name} == {".py", ".md", ".safetensors", ".flac", ".binpb", ".proto"}
    assert {"lipsync_core/weights/speech_encoder.safetensors", "lipsync_core/service/interface.binpb"} <= set(names)


def test_the_pack_can_be_imported_without_a_host_and_costs_nothing() -> None:
    code = ("import importlib.util, sys, time\n"
            "begin = time.perf_counter()\n"
            f"spec = importlib.util.spec_from_file_location('pack', r'{ROOT / '__init__.py'}', submodule_search_locations=[r'{ROOT}'])\n"
            "pack = importlib.util.module_from_spec(spec); sys.modules['pack'] = pack; spec.loader.exec_module(pack)\n"
            "assert pack.WEB_DIRECTORY == './web' and callable(pack.comfy_entrypoint)\n"
            "heavy = {'torch', 'cv2', 'av', 'numpy', 'face_alignment'} & set(sys.modules)\n"
            "assert not heavy, heavy\n")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_the_registry_forbids() -> None:
    """No exec, no eval, no two statements in a line: the registry's own check."""
    subprocess.run([sys.executable, "-m", "ruff", "check", str(ROOT), "--select", "S102,S307,E702", "--quiet"], check=True)
