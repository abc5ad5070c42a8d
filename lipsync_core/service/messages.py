"""The messages of the service, made at run time from a description of the interface.

`interface.binpb` is the compiled form of `protos/` (a `FileDescriptorSet`; a test compiles it again and compares). Generated Python code
would be tied to the versions of protobuf that it was generated for, one major version back at most, and a ComfyUI has whatever version it
has; a description is read by every one of them. It lies in a pool of its own, so that a program may load the generated code of another
client beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

FILE = Path(__file__).with_name("interface.binpb")
SERVICE, METHOD = "nvidia.ai4m.lipsync.v1.LipSyncService", "Lipsync"


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def _message(name: str) -> type:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


Request = _message("nvidia.ai4m.lipsync.v1.LipsyncRequest")
Response = _message("nvidia.ai4m.lipsync.v1.LipsyncResponse")
Config = _message("nvidia.ai4m.lipsync.v1.LipsyncConfig")
ServiceInfo = _message("nvidia.ai4m.common.v1.ServiceInfo")
WRAPPERS = {name: _message(f"google.protobuf.{name}") for name in (
    "BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue", "StringValue")}
"""By the end of an `Any`'s type address."""


def read_request(data: bytes) -> Any:
    """A request; an empty one for bytes that are none, which the receiver answers with a sentence."""
    try:
        return Request.FromString(data)
    except DecodeError:
        return Request()


AUDIO_MP3, AUDIO_WAV, AUDIO_OPUS = 1, 2, 3
EXTEND_SILENCE, EXTEND_FORWARD, EXTEND_REVERSE = 1, 1, 2
