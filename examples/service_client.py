"""Send a video and speech to `python -m lipsync_core serve` (or to NVIDIA's service) and write what comes back.

    python examples/service_client.py clip.mp4 speech.wav dubbed.mp4 [localhost:8001]
"""

import sys
from pathlib import Path

import grpc

from lipsync_core.service.messages import METHOD, SERVICE, Request, Response


def requests(video: bytes, audio: bytes, piece: int = 64 << 10):
    yield Request(config={"input_audio_codec": "AUDIO_CODEC_WAV"})
    for at in range(0, max(len(video), len(audio)), piece):
        yield Request(input={"video_file_data": video[at:at + piece], "audio_file_data": audio[at:at + piece]})


video, audio, output, server = (*sys.argv[1:4], *sys.argv[4:5], "localhost:8001")[:4]
with grpc.insecure_channel(server) as channel, open(output, "wb") as file:
    lipsync = channel.stream_stream(f"/{SERVICE}/{METHOD}", Request.SerializeToString, Response.FromString)
    for response in lipsync(requests(Path(video).read_bytes(), Path(audio).read_bytes())):
        file.write(response.video_file_data)
