"""Programs written for NVIDIA's LipSync service against ours: both styles of client, both ways of working, every option."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import grpc
import numpy as np
import pytest
from google.protobuf import wrappers_pb2
from helpers import moving_face, write_clip
from service import client
from service.inputs import remuxed, wav

from lipsync_core import __version__
from lipsync_core.provenance.mark import xmp_box
from lipsync_core.provenance.reading import known_of
from lipsync_core.service.compile import compiled
from lipsync_core.service.messages import FILE


def dubbed(api: SimpleNamespace, channel: grpc.Channel, target: Path, video: bytes, audio: bytes, speakers: tuple = (),
           background: bytes = b"", **config: Any) -> Path:
    stream = client.requests(api, api.pb.LipsyncConfig(**{"input_audio_codec": 2} | config), video, audio, speakers, background)
    client.read_new(client.call(api, channel, stream), target)
    return target


def refused(api: SimpleNamespace, channel: grpc.Channel, tmp_path: Path, *inputs: bytes, **config: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        dubbed(api, channel, tmp_path / "refused.mp4", *inputs, **config)
    assert not (tmp_path / "refused.mp4").exists()
    return caught.value


def seen(file: Path) -> SimpleNamespace:
    """What a player sees and hears."""
    with av.open(str(file)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        found = SimpleNamespace(video=video.codec_context.name, audio=audio.codec_context.name)
        frames = list(container.decode(video))
        found.frames = [frame.to_ndarray() for frame in frames]
        found.keys = [i for i, frame in enumerate(frames) if frame.key_frame]
        found.begin, found.pix_fmt = float(frames[0].pts * video.time_base), frames[0].format.name
    with av.open(str(file)) as container:
        sound = list(container.decode(audio=0))
        found.sound_begin = float(sound[0].pts * sound[0].time_base)
        found.samples = np.concatenate([np.atleast_2d(frame.to_ndarray()).mean(0) for frame in sound])
        found.rate = sound[0].sample_rate
    return found


def test_the_description_is_that_of_the_proto_files() -> None:
    assert FILE.read_bytes() == compiled(), "run python -m lipsync_core.service.compile"


def test_a_new_client_is_told_who_answers_and_gets_a_whole_file(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace,
                                                                speech: bytes, tmp_path: Path) -> None:
    config = api.pb.LipsyncConfig(input_audio_codec=2, head_movement_speed=1)
    answers = list(client.call(api, channel, client.requests(api, config, short.front, speech), "session 7"))
    info = answers[0].service_info
    assert (info.feature_name, info.feature_version, info.client_session_id) == ("OpenLipSync", __version__, "session 7")
    assert info.server_request_id and info.model_info == "morph"
    assert answers[1].config == config
    assert {answer.WhichOneof("lipsync_response") for answer in answers[2:]} <= {"video_file_data", "keepalive"}
    (tmp_path / "out.mp4").write_bytes(b"".join(answer.video_file_data for answer in answers))
    found = seen(tmp_path / "out.mp4")
    assert (found.video, found.audio, found.pix_fmt, len(found.frames)) == ("h264", "opus", "yuv420p", 36)
    assert abs(found.begin) < 0.001 and abs(found.sound_begin) < 0.001
    assert len(found.samples) / found.rate == pytest.approx(36 / 25, abs=0.05)
    assert sum(bool((a != b).any()) for a, b in zip(found.frames, short.frames)) > 30


@pytest.mark.parametrize("where", ["front", "end"])
def test_an_old_client_that_throws_the_first_answer_away_gets_the_same(api: SimpleNamespace, channel: grpc.Channel, where: str,
                                                                       short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    stream = client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), getattr(short, where), speech)
    client.read_old(client.call(api, channel, stream), tmp_path / "out.mp4")
    assert len(seen(tmp_path / "out.mp4").frames) == 36


@pytest.mark.slow
def test_the_result_begins_before_the_upload_ends(api: SimpleNamespace, channel: grpc.Channel, astronaut: np.ndarray, babble: np.ndarray,
                                                  tmp_path: Path) -> None:
    """`moov` in front: the last part of the video is held back until the first bytes of the result are there."""
    clip = write_clip(tmp_path / "long.mp4", moving_face(astronaut, 150, 240), options={"crf": "4", "g": "25"})
    video, arrived, in_time = remuxed(clip, tmp_path / "front.mp4", True), threading.Event(), []
    assert len(video) > 4 * client.PIECE
    stream = client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), video, wav(np.tile(babble, 3)),
                             before_last=lambda: in_time.append(arrived.wait(60)))
    with open(tmp_path / "out.mp4", "wb") as file:
        for answer in client.call(api, channel, stream):
            if answer.video_file_data:
                arrived.set()
                file.write(answer.video_file_data)
    assert in_time == [True]
    assert len(seen(tmp_path / "out.mp4").frames) == 150
    assert known_of(tmp_path / "out.mp4").altered and (tmp_path / "out.mp4").read_bytes().endswith(xmp_box())


def test_encodings(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    """Lossless: a bypassed frame is the source's to the bit. Lossy: a key frame every 8. Custom: the encoder's own names."""
    aside = tuple(api.pb.SpeakerInfoPerFrame(frame_id=i, bypass=True) for i in range(36))
    lossless = api.video.VideoEncoding(lossless=True)
    found = seen(dubbed(api, channel, tmp_path / "lossless.mp4", short.front, speech, aside, is_speaker_info_provided=True,
                        output_video_encoding=lossless))
    assert all(np.array_equal(a, b) for a, b in zip(found.frames, short.frames)) and len(found.frames) == 36
    lossy = api.video.VideoEncoding(lossy=api.video.LossyEncoding())
    assert seen(dubbed(api, channel, tmp_path / "lossy.mp4", short.front, speech, output_video_encoding=lossy)).keys == [0, 8, 16, 24, 32]
    wanted = {"crf": wrappers_pb2.Int32Value(value=40), "preset": wrappers_pb2.StringValue(value="ultrafast"),
              "idr_interval": wrappers_pb2.UInt32Value(value=12)}
    custom = api.video.VideoEncoding()
    for name, value in wanted.items():
        custom.custom_encoding.custom[name].Pack(value)
    small = dubbed(api, channel, tmp_path / "custom.mp4", short.front, speech, output_video_encoding=custom, output_audio_codec=1)
    assert (seen(small).keys, seen(small).audio) == ([0, 12, 24], "mp3float")
    assert small.stat().st_size < 0.3 * (tmp_path / "lossy.mp4").stat().st_size


@pytest.mark.parametrize("how", ["forward", "reverse"])
def test_a_video_is_extended_to_the_speech(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes, how: str,
                                           tmp_path: Path) -> None:
    value = {"forward": api.pb.EXTEND_VIDEO_FORWARD, "reverse": api.pb.EXTEND_VIDEO_REVERSE}[how]
    assert len(seen(dubbed(api, channel, tmp_path / "out.mp4", short.front, speech, extend_video=value)).frames) == 50


@pytest.mark.parametrize("where", ["front", "end"])
def test_speech_is_extended_with_silence_and_mixed_with_a_background(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace,
                                                                     babble: np.ndarray, where: str, tmp_path: Path) -> None:
    """The background has another rate; what follows the speech is the background alone, at half its level (the default volume)."""
    hum = (0.2 * np.sin(2 * np.pi * 3000 * np.arange(2 * 22_050) / 22_050)).astype(np.float32)
    found = seen(dubbed(api, channel, tmp_path / "out.mp4", getattr(short, where), wav(babble[8000:16_000]), background=wav(hum, 22_050),
                        extend_audio=api.pb.EXTEND_AUDIO_SILENCE, background_audio_config=api.pb.BackgroundAudioConfig(
                            is_background_audio_provided=True)))
    assert len(found.frames) == 36
    after = found.samples[round(0.6 * found.rate):round(0.9 * found.rate)]
    assert np.sqrt(np.mean(after ** 2)) == pytest.approx(0.5 * 0.2 / np.sqrt(2), rel=0.1)


def test_speaker_data_say_who_speaks(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes,
                                     tmp_path: Path) -> None:
    """A box of zeros that speaks: find the face; one that is silent leaves the frame as it was."""
    def entry(frame: int, speaks: bool) -> Any:
        return api.pb.SpeakerInfoPerFrame(frame_id=frame, speaker_infos=[api.pb.SpeakerInfo(
            speaker_bbox=api.common.BoundingBox(x=0, y=0, width=0, height=0), is_speaking=speaks)])

    speakers = tuple(entry(i, i < 18) for i in range(36))
    found = seen(dubbed(api, channel, tmp_path / "out.mp4", short.front, speech, speakers, is_speaker_info_provided=True,
                        output_video_encoding=api.video.VideoEncoding(lossless=True)))
    changed = [bool((a != b).any()) for a, b in zip(found.frames, short.frames)]
    assert all(changed[5:15]) and not any(changed[25:])


def test_what_is_not_supported_is_said(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes,
                                       tmp_path: Path) -> None:
    unknown, wrong = api.video.VideoEncoding(), api.video.VideoEncoding()
    unknown.custom_encoding.custom["tempo"].Pack(wrappers_pb2.Int32Value(value=3))
    wrong.custom_encoding.custom["preset"].Pack(wrappers_pb2.StringValue(value="hasty"))
    for config, word in ((dict(output_audio_codec=2), "output_audio_codec"), (dict(head_movement_speed=2), "head_movement_speed"),
                         (dict(background_audio_config=api.pb.BackgroundAudioConfig(audio_volume=1.5)), "audio_volume"),
                         (dict(output_video_encoding=unknown), "tempo"), (dict(output_video_encoding=wrong), "hasty")):
        error = refused(api, channel, tmp_path, short.front, speech, **config)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and word in error.details()


def test_what_is_no_video_or_no_speech_is_said(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes,
                                               temp: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes()
    for video, audio, word in ((noise, speech, "video"), (short.front, noise, "audio"), (short.front, b"", "audio"), (b"", speech, "video"),
                               (speech, speech, "picture")):
        error = refused(api, channel, tmp_path, video, audio)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT and word in error.details() and str(temp) not in error.details()
    assert refused(api, channel, tmp_path, bytes(31 << 20), speech).code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_any_container_and_codec_is_read(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, speech: bytes,
                                         tmp_path: Path) -> None:
    """WebM is streamed; MP3 speech that is called WAV is heard all the same."""
    webm, mp3 = io.BytesIO(), io.BytesIO()
    with av.open(webm, "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"deadline": "realtime", "cpu-used": "8"})
        stream.width = stream.height = 240
        stream.pix_fmt = "yuv420p"
        with av.open(str(short.file)) as source:
            for frame in source.decode(video=0):
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    with av.open(io.BytesIO(speech)) as source, av.open(mp3, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=16_000, layout="mono")
        for frame in source.decode(audio=0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert len(seen(dubbed(api, channel, tmp_path / "out.mp4", webm.getvalue(), mp3.getvalue())).frames) == 36


@pytest.mark.parametrize("order", ["data first", "two configs", "empty", "nothing"])
def test_messages_out_of_order(api: SimpleNamespace, channel: grpc.Channel, short: SimpleNamespace, order: str) -> None:
    config = api.pb.LipsyncRequest(config=api.pb.LipsyncConfig())
    data = api.pb.LipsyncRequest(input=api.pb.LipsyncInputData(video_file_data=short.front[:1000]))
    stream = {"data first": [data], "two configs": [config, config], "empty": [config, api.pb.LipsyncRequest()], "nothing": []}[order]
    with pytest.raises(grpc.RpcError) as caught:
        list(client.call(api, channel, iter(stream)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT and "config" in caught.value.details()
