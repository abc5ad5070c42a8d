"""A minimal client of the interface, as its users write them: generated code, pieces of 64 KiB in turn. In both styles: `read_new` looks at
what each answer is, `read_old` throws the first one away and writes the rest."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc

PIECE = 64 * 1024
BATCH = 2048


def generate(folder: Path) -> SimpleNamespace:
    """The interface's Python code by grpcio-tools, imported from `folder`."""
    import grpc_tools
    from grpc_tools import protoc

    from lipsync_core.service.compile import PROTOS

    files = [str(file.relative_to(PROTOS)) for file in PROTOS.rglob("*.proto")]
    include = Path(grpc_tools.__file__).parent / "_proto"
    assert not protoc.main(["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
    sys.path.insert(0, str(folder))
    names = {"pb": "lipsync.v1.lipsync_pb2", "stub": "lipsync.v1.lipsync_pb2_grpc", "audio": "audio.v1.audio_pb2",
             "video": "video.v1.video_pb2", "common": "common.v1.common_pb2"}
    return SimpleNamespace(**{short: importlib.import_module(f"nvidia.ai4m.{name}") for short, name in names.items()})


def pieces(data: bytes, size: int = PIECE) -> Iterator[bytes]:
    for first in range(0, len(data), size):
        yield data[first:first + size]


def requests(api: SimpleNamespace, config: Any, video: bytes, audio: bytes, speakers: Iterable[Any] = (), background: bytes = b"",
             before_last: Callable[[], None] = lambda: None) -> Iterator[Any]:
    """The config, then one piece of each kind in turn; `before_last` is called before the last piece of the video."""
    yield api.pb.LipsyncRequest(config=config)
    speakers = list(speakers)
    batches = [speakers[first:first + BATCH] for first in range(0, len(speakers), BATCH)]
    films, sounds, grounds = list(pieces(video)), list(pieces(audio)), list(pieces(background))
    for turn in range(max(len(films), len(sounds), len(batches), len(grounds))):
        for name, kind in (("video_file_data", films), ("audio_file_data", sounds), ("per_frame_speaker_infos", batches),
                           ("background_audio_file_data", grounds)):
            if turn < len(kind) and not (name == "video_file_data" and turn == len(films) - 1):
                yield api.pb.LipsyncRequest(input=api.pb.LipsyncInputData(**{name: kind[turn]}))
    before_last()
    if films:
        yield api.pb.LipsyncRequest(input=api.pb.LipsyncInputData(video_file_data=films[-1]))


def call(api: SimpleNamespace, channel: grpc.Channel, stream: Iterator[Any], session: str = "a test") -> Any:
    return api.stub.LipSyncServiceStub(channel).Lipsync(stream, metadata=(("client-session-id", session),))


def read_new(answers: Any, file: Path) -> list[str]:
    """Kinds of the answers in order, repetitions left out; the file is written, and removed where the call fails."""
    kinds: list[str] = []
    try:
        with open(file, "wb") as output:
            for answer in answers:
                kind = answer.WhichOneof("lipsync_response")
                if not kinds or kinds[-1] != kind:
                    kinds.append(kind)
                if kind == "video_file_data":
                    output.write(answer.video_file_data)
    except grpc.RpcError:
        file.unlink()
        raise
    return kinds


def read_old(answers: Any, file: Path) -> None:
    next(answers)
    with open(file, "wb") as output:
        for answer in answers:
            if answer.HasField("video_file_data"):
                output.write(answer.video_file_data)
