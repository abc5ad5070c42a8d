"""Downloads, from a real server on this machine: whole, cut, wrong, moved, forbidden. Nothing outside this machine is asked."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lipsync_core.cli import main
from lipsync_core.errors import CheckpointError, LipSyncError, OutputError
from lipsync_core.models import catalogue, transfer
from lipsync_core.models.catalogue import KnownFile, KnownModel, Source
from lipsync_core.models.download import HUB, MIRROR, OFFLINE, address_of, download, plan
from lipsync_core.types import Hooks

CONTENT = bytes(range(256)) * 20_000
"""5 MB."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Hub:
    """A file server in the manner of a model hub: ranges, and redirects that tell a file's hash."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Path: content."""
    redirects: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Path: where to, and the hash that is told with it."""
    cut: int = 0
    """Bytes after which each answer breaks off; 0 = none does."""
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths and ranges."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append((self.path, asked))
            if self.path in state.redirects:
                target, sha256 = state.redirects[self.path]
                self.send_response(302)
                self.send_header("Location", target)
                self.send_header("X-Linked-Etag", f'"{sha256}"')
                self.end_headers()
                return
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[start:start + state.cut] if state.cut else content[start:])

        def log_message(self, *words: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(MIRROR, state.address + "/")
    monkeypatch.delenv(OFFLINE, raising=False)
    yield state
    server.shutdown()
    server.server_close()


def publish(monkeypatch: pytest.MonkeyPatch, hub: Hub, sha256: str | None = SHA256, served: bytes = CONTENT) -> str:
    """A model of one file; returns the path that the hub has it at."""
    file = KnownFile("sub/net.pth", (Source("someone/net", "net.pth"),), len(CONTENT), sha256=sha256)
    monkeypatch.setattr(catalogue, "CATALOGUE", (KnownModel("net", "A network", "wav2lip", "research only", "no", (file,)),))
    path = "/someone/net/resolve/main/net.pth"
    hub.files[path] = served
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_addresses_and_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    source = catalogue.by_name("wav2lip-gan").files[0].sources[0]
    monkeypatch.delenv(MIRROR, raising=False)
    assert address_of(source) == f"{HUB}/camenduru/Wav2Lip/resolve/main/checkpoints/wav2lip_gan.pth"
    monkeypatch.setenv(MIRROR, "https://mirror.example/hub/")
    assert address_of(source).startswith("https://mirror.example/hub/camenduru/") and address_of(Source("", "http://x/y")) == "http://x/y"
    monkeypatch.setenv(MIRROR, "file:///etc")
    with pytest.raises(LipSyncError, match="no web address"):
        address_of(source)


def test_a_whole_file(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, heard = publish(monkeypatch, hub), []
    hooks = Hooks(progress=lambda *told: heard.append(told))
    assert download("net", tmp_path, hooks=hooks) == [tmp_path / "sub" / "net.pth"]
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT and names(tmp_path) == ["net.pth"]
    assert ("download", 6, 6) in heard and heard[-1] == ("check", 6, 6) and hub.asked == [(path, None)]
    assert download("net", tmp_path) == [] and len(hub.asked) == 1    # it is there already
    assert len(download("net", tmp_path, force=True)) == 1 and len(hub.asked) == 2


def test_a_connection_that_breaks_is_taken_up_again(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hub.cut = publish(monkeypatch, hub), 2_000_000
    download("net", tmp_path)
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT and names(tmp_path) == ["net.pth"]
    assert hub.asked == [(path, None), (path, "bytes=2000000-"), (path, "bytes=4000000-")]


def test_what_has_arrived_is_kept_for_the_next_time(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hub.cut = publish(monkeypatch, hub), 100_000                # five attempts bring a tenth of it
    with pytest.raises(LipSyncError, match="kept") as error:
        download("net", tmp_path)
    assert "\n" not in str(error.value) and names(tmp_path) == ["net.pth.partial"]
    hub.cut, hub.asked = 0, []
    download("net", tmp_path)
    assert hub.asked == [(path, "bytes=500000-")] and (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT


def test_an_interrupt_keeps_what_has_arrived(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish(monkeypatch, hub)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("net", tmp_path, hooks=Hooks(progress=stop))
    arrived = (tmp_path / "sub" / "net.pth.partial").stat().st_size
    download("net", tmp_path)
    assert 0 < arrived < len(CONTENT) and hub.asked[-1] == (path, f"bytes={arrived}-") and names(tmp_path) == ["net.pth"]


@pytest.mark.parametrize("start", [b"something else", CONTENT, CONTENT + b"?"], ids=["another file", "all of it", "too much"])
def test_whatever_lay_there_before_the_result_is_right_or_nothing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                  start: bytes) -> None:
    publish(monkeypatch, hub)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth.partial").write_bytes(start)
    if start != CONTENT:
        with pytest.raises(CheckpointError, match="removed"):
            download("net", tmp_path)
        assert names(tmp_path) == []
    download("net", tmp_path)
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT and names(tmp_path) == ["net.pth"]


def test_a_server_without_ranges_starts_anew(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub)
    hub.ranges = False
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth.partial").write_bytes(CONTENT[:1000])
    download("net", tmp_path)
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT


def test_a_wrong_file_is_removed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub, served=CONTENT[:-1] + b"!")
    with pytest.raises(CheckpointError, match="not the published net.pth .*removed") as error:
        download("net", tmp_path)
    assert names(tmp_path) == [] and "\n" not in str(error.value)


def test_the_hubs_own_word_is_used_where_the_hash_is_not_known(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish(monkeypatch, hub, sha256=None)
    hub.files["/store"] = hub.files.pop(path)
    hub.redirects[path] = (f"{hub.address}/store", SHA256)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth.partial").write_bytes(CONTENT[:1000])
    download("net", tmp_path)
    assert hub.asked == [(path, "bytes=1000-"), ("/store", "bytes=1000-")] and (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT
    hub.redirects[path] = (f"{hub.address}/store", "0" * 64)
    with pytest.raises(CheckpointError, match="instead of 000000000000"):
        download("net", tmp_path, force=True)
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT     # what was there stays


def test_with_no_hash_at_all_pieces_are_not_joined_and_the_user_is_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, warned = publish(monkeypatch, hub, sha256=None), []
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth.partial").write_bytes(b"?" * 1000)
    download("net", tmp_path, hooks=Hooks(warn=warned.append))
    assert (tmp_path / "sub" / "net.pth").read_bytes() == CONTENT and hub.asked == [(path, "bytes=1000-"), (path, None)]
    assert len(warned) == 1 and SHA256 in warned[0]


def test_the_next_source_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub)
    (model,) = catalogue.CATALOGUE
    file = KnownFile("net.pth", (Source("gone/net", "net.pth"), *model.files[0].sources), len(CONTENT), sha256=SHA256)
    monkeypatch.setattr(catalogue, "CATALOGUE", (KnownModel("net", "A network", "wav2lip", "research only", "no", (file,)),))
    download("net", tmp_path)
    assert names(tmp_path) == ["net.pth"] and [path for path, _ in hub.asked][0].startswith("/gone/")


@pytest.mark.parametrize("target, words", [("file:///etc/hostname", "not allowed"), ("ftp://127.0.0.1/net.pth", "sends on to 'ftp'")])
def test_other_protocols_are_not_followed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str) -> None:
    path = publish(monkeypatch, hub)
    hub.redirects[path] = (target, SHA256)
    with pytest.raises(LipSyncError, match=words):
        download("net", tmp_path)
    assert names(tmp_path) == []


def test_offline_means_offline(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub)
    monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(LipSyncError, match=f"{OFFLINE} is set") as error:
        download("net", tmp_path)
    assert hub.asked == [] and names(tmp_path) == [] and "net.pth into" in str(error.value)


def test_no_network_is_one_sentence(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, hub)
    with socket.socket() as taken:                                    # a port that nobody listens at
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert main(["download", "net", "--folder", str(tmp_path), "--yes", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: http://127.0.0.1:") and said.count("\n") == 1 and "refused" in said and "by hand" in said


def test_a_full_disk_is_noticed_before(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub)
    monkeypatch.setattr(transfer, "SPARE", 10**18)
    with pytest.raises(OutputError, match="MB left"):
        download("net", tmp_path)
    assert hub.asked == []


def test_another_file_of_that_name_is_in_the_way(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, hub)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth").write_bytes(b"mine")
    with pytest.raises(OutputError, match="--force"):
        plan("net", tmp_path)
    assert [item.target.name for item in plan("net", tmp_path, force=True)] == ["net.pth"]


def test_the_command_shows_the_licence_and_asks(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    publish(monkeypatch, hub)
    command = ["download", "net", "--folder", str(tmp_path), "--quiet"]
    assert main(command) == 1                                         # pytest's standard input is no terminal
    told = capsys.readouterr()
    assert "research only" in told.out and "NO commercial use" in told.out and "5.1 MB" in told.out and "--yes" in told.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer, status in (("n", 1), ("", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert main(command) == status and bool(hub.asked) == (status == 0)
    assert main(command) == 0 and "already" in capsys.readouterr().out
    assert main([*command, "--yes", "--force"]) == 0 and len(hub.asked) == 2
