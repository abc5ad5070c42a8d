"""`python -m lipsync_core.service.compile`: `protos/` into `interface.binpb` (needs grpcio-tools; see `messages`)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).with_name("protos")
WELL_KNOWN = "google/protobuf/wrappers.proto"
"""What custom encoder options are wrapped in; no file of ours imports it."""


def compiled() -> bytes:
    """A `FileDescriptorSet` of all files and what they import, without their comments."""
    import grpc_tools
    from grpc_tools import protoc

    own = [str(file.relative_to(PROTOS).as_posix()) for file in sorted(PROTOS.rglob("*.proto"))]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "interface.binpb"
        include = Path(grpc_tools.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{include}", "--include_imports", f"--descriptor_set_out={target}", *own, WELL_KNOWN]
        if protoc.main(arguments):
            raise SystemExit("The interface can't be compiled: look at the lines above.")
        return target.read_bytes()


if __name__ == "__main__":
    from google.protobuf import descriptor_pb2

    FILE = Path(__file__).with_name("interface.binpb")
    FILE.write_bytes(compiled())
    sys.stdout.write(f"{FILE}: {len(descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes()).file)} files, "
                     f"{FILE.stat().st_size} bytes\n")
