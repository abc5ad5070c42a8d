"""A running ComfyUI and what its page does with it: post a prompt, follow it, interrupt it, read what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import websocket
from host.graph import Graph
from host.setup_host import REPOSITORY, Host

PACK = "OpenLipSync"
START_SECONDS, RUN_SECONDS = 180, 900


class Refused(Exception):
    """The host's validation turned the prompt down before anything ran; `errors` by node id."""

    def __init__(self, answer: dict) -> None:
        super().__init__(json.dumps(answer, indent=1))
        self.errors: dict[str, list[dict]] = {node: entry["errors"] for node, entry in answer.get("node_errors", {}).items()}

    def text(self, node: str) -> str:
        return " ".join(f"{error['message']}: {error['details']}" for error in self.errors[node])


class NodeError(Exception):
    """A node raised while it ran; `message` is what the page shows on it."""

    def __init__(self, data: dict) -> None:
        super().__init__(f"node {data['node_id']} ({data['node_type']}): {data['exception_message']}\n" + "".join(data["traceback"]))
        self.node: str = data["node_id"]
        self.message: str = data["exception_message"].strip()


@dataclass
class Run:
    """What one prompt did."""

    prompt_id: str
    seconds: float = 0.0
    interrupted: bool = False
    executed: list[str] = field(default_factory=list)                 # nodes that ran, in order
    cached: list[str] = field(default_factory=list)                   # nodes whose results were still there
    progress: dict[str, list[tuple[float, float]]] = field(default_factory=dict)      # node: (value, maximum), as the page's bar gets them
    binary: list[tuple[int, bytes]] = field(default_factory=list)
    """Messages that are no text: their kind (the host's `BinaryEventTypes`) and their content."""
    outputs: dict[str, dict] = field(default_factory=dict)            # node: what its `ui` said


class Server:
    """ComfyUI as a process, with a base folder of its own and this pack as its only one."""

    def __init__(self, host: Host, base: Path, models: Path) -> None:
        self.base, self.host = base, host
        for folder in ("input", "output", "temp", "models", "user", "custom_nodes"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        self.pack = ship_pack(base / "custom_nodes" / PACK)
        self.shipped = {file.relative_to(self.pack) for file in self.pack.rglob("*") if file.is_file()}
        # Users keep models on other disks and name them in this file; its folders come before the pack registers its own.
        (base / "extra.yaml").write_text(json.dumps({"elsewhere": {"base_path": str(models), "lipsync": "lipsync"}}))
        compile_pack = [host.python, "-m", "compileall", "-q", str(self.pack)]    # as on every start but a user's first
        subprocess.run(compile_pack, check=True, cwd=base)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.log = base / "server.log"
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        command = [host.python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", self.address.split(":")[1],
                   "--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--disable-all-custom-nodes",
                   "--whitelist-custom-nodes", PACK, "--extra-model-paths-config", str(base / "extra.yaml"),
                   "--disable-api-nodes", "--disable-auto-launch", "--dont-print-server"]
        if page := os.environ.get("COMFYUI_PAGE"):                   # another version of the page than the host brings along
            command += ["--front-end-root", page]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=host.path, env=environment, stdout=log, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL)
        try:
            self._wait_until_up()
        except BaseException:
            self.stop()
            raise
        self.start_log = self.log.read_text(errors="replace")
        self.idle_memory = self.memory()
        self.info: dict[str, dict] = self.get("/object_info")

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.get("/system_stats")
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as answer:
            return json.load(answer)

    def fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as answer:
            return answer.read()

    def post(self, path: str, data: dict) -> Any:
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(data).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def run(self, graph: Graph | dict[str, dict], watch: Callable[[str, dict], None] = lambda kind, data: None) -> Run:
        """Run a graph to its end. Inputs that the graph leaves out get the host's defaults, as on the page.

        `watch` sees every message as it comes. Raises Refused, NodeError, TimeoutError.
        """
        prompt = graph.prompt(self.info) if isinstance(graph, Graph) else graph
        client = uuid.uuid4().hex
        with contextlib.closing(websocket.create_connection(f"ws://{self.address}/ws?clientId={client}", timeout=60)) as page:
            start = time.monotonic()
            try:
                answer = self.post("/prompt", {"prompt": prompt, "client_id": client})
            except urllib.error.HTTPError as error:
                if error.code != 400:
                    raise
                raise Refused(json.load(error)) from None
            if answer["node_errors"]:                                 # some outputs can run, others can't: no graph here wants that
                raise Refused(answer)
            run = Run(answer["prompt_id"])
            failure = None
            for kind, data in self._messages(page, start + RUN_SECONDS):
                if kind == "binary":
                    run.binary.append((data["kind"], data["content"]))
                if data.get("prompt_id") != run.prompt_id:
                    continue
                if kind == "executing" and data["node"] is not None:
                    run.executed.append(data["node"])
                elif kind == "execution_cached":
                    run.cached = data["nodes"]
                elif kind == "progress":
                    run.progress.setdefault(data["node"], []).append((data["value"], data["max"]))
                elif kind == "execution_error":
                    failure = data
                elif kind == "execution_interrupted":
                    run.interrupted = True
                watch(kind, data)
                if kind in ("execution_success", "execution_error", "execution_interrupted"):
                    run.seconds = time.monotonic() - start
                    break
        history = self._history(run.prompt_id)
        run.outputs = history["outputs"]
        if failure:
            raise NodeError(failure)
        return run

    @staticmethod
    def _messages(page: websocket.WebSocket, end: float) -> Iterator[tuple[str, dict]]:
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the prompt did not end within {RUN_SECONDS} s")
            page.settimeout(left)
            try:
                text = page.recv()
            except websocket.WebSocketTimeoutException:
                continue
            if isinstance(text, str):
                message = json.loads(text)
                yield message["type"], message["data"]
            else:                                                     # preview pictures, and words below a node
                yield "binary", {"kind": int.from_bytes(text[:4], "big"), "content": text[4:]}

    def _history(self, prompt_id: str) -> dict:
        for _ in range(100):                                          # written a moment after the last message
            if entry := self.get(f"/history/{prompt_id}").get(prompt_id):
                return entry
            time.sleep(0.05)
        raise TimeoutError("the prompt never came into the history")

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def forget(self) -> None:
        """Drop all cached results, as the page's "Free model and node cache" does."""
        self.post("/free", {"free_memory": True, "unload_models": True})
        other = Graph()
        other.add("PreviewAny", source=uuid.uuid4().hex)              # the host may look at that wish only after its next prompt
        self.run(other)

    def files(self, run: Run, node: str) -> list[Path]:
        """The files that an output node showed: SaveVideo's, SaveImage's."""
        shown = [entry for entries in run.outputs[node].values() if isinstance(entries, list) for entry in entries
                 if isinstance(entry, dict) and "filename" in entry]
        return [self.base / entry["type"] / entry["subfolder"] / entry["filename"] for entry in shown]

    def text(self, run: Run, node: str) -> str:
        """What Preview as Text showed."""
        return run.outputs[node]["text"][0]

    def written(self) -> set[Path]:
        """Every file in the output and temp folders."""
        return {file for folder in ("output", "temp") for file in (self.base / folder).rglob("*") if file.is_file()}

    def memory(self) -> int:
        """Resident bytes of the host and what it started."""
        process = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])

    @contextlib.contextmanager
    def peak_memory(self) -> Iterator[list[int]]:
        """Measures while the block runs: [resident bytes before, the most during]."""
        measured, done = [self.memory()] * 2, threading.Event()

        def sample() -> None:
            while not done.wait(0.05):
                measured[1] = max(measured[1], self.memory())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield measured
        finally:
            done.set()
            thread.join()


def ship_pack(target: Path) -> Path:
    """The pack as a user gets it: what git has or would add, without what .comfyignore keeps out of the registry's archive."""
    git = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    left_out = ["-i", "-X", str(REPOSITORY / ".comfyignore")]
    try:
        files = _names(git)
        if (REPOSITORY / ".comfyignore").is_file():
            files -= _names([*git[:5], "--cached", "--others", *left_out])
    except (OSError, subprocess.CalledProcessError):                  # not a checkout, or no git: everything but the bulky
        shutil.copytree(REPOSITORY, target, ignore=shutil.ignore_patterns(".*", "__pycache__", "demo"))
        return target
    for name in files:
        if (REPOSITORY / name).is_file():                             # git also names files that are deleted but not yet committed so
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, target / name)
    return target


def _names(command: list[str]) -> set[str]:
    out = subprocess.run(command, capture_output=True, check=True).stdout
    return {os.fsdecode(name) for name in out.split(b"\0") if name}


def import_of_pack(log: str) -> str:
    """The host's line on the pack in its table of import times: '   0.0 seconds: .../custom_nodes/OpenLipSync'."""
    lines = [line for line in log.splitlines() if line.rstrip().endswith(f"custom_nodes{os.sep}{PACK}") and " seconds" in line]
    return lines[0] if lines else "the host's log says nothing of the pack"
