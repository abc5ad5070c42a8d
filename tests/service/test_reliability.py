"""What a server does when it is asked too much, left alone, or told to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from helpers import write_clip
from service import client
from service.inputs import remuxed

from lipsync_core import LipSyncError
from lipsync_core.service.server import Server
from lipsync_core.service.settings import ServiceSettings


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes true in that time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def stalled(api: SimpleNamespace, short: SimpleNamespace, speech: bytes, until: threading.Event) -> Iterator[Any]:
    """A client that sends nearly all, and then waits."""
    return client.requests(api, api.pb.LipsyncConfig(input_audio_codec=2), short.front, speech, before_last=lambda: until.wait(60))


def http(server: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_and_metrics(server: Server, channel: grpc.Channel, api: SimpleNamespace, short: SimpleNamespace, speech: bytes,
                            tmp_path: Path) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "nvidia.ai4m.lipsync.v1.LipSyncService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    assert [http(server, f"/v1/health/{which}")[0] for which in ("live", "ready", "other")] == [200, 200, 404]
    client.read_new(client.call(api, channel, client.requests(api, api.pb.LipsyncConfig(), short.front, speech)), tmp_path / "out.mp4")
    assert soon(lambda: 'openlipsync_requests_total{code="OK"} 1.0' in http(server, "/metrics")[1])
    figures = http(server, "/metrics")[1]
    assert 'openlipsync_frames_total{done="dubbed"} 36.0' in figures and "openlipsync_streams 0.0" in figures
    assert 'openlipsync_stage_seconds_total{stage="stream"}' in figures


def test_a_client_that_vanishes_leaves_nothing(server: Server, channel: grpc.Channel, api: SimpleNamespace, short: SimpleNamespace,
                                               speech: bytes, temp: Path) -> None:
    release = threading.Event()
    answers = client.call(api, channel, stalled(api, short, speech, release))
    assert next(answers).HasField("service_info") and next(answers).HasField("config")
    assert soon(lambda: any(temp.iterdir()))
    begun = time.monotonic()
    answers.cancel()
    assert soon(lambda: not any(temp.iterdir()), 2.0) and time.monotonic() - begun < 1.0
    release.set()


def test_a_full_queue_is_said_at_once(channel: grpc.Channel, api: SimpleNamespace, short: SimpleNamespace, speech: bytes,
                                      temp: Path, tmp_path: Path) -> None:
    """One is worked on and one waits, with keepalives; the third is turned away. The one that waited is worked on afterwards."""
    release = threading.Event()
    first, second = (client.call(api, channel, stalled(api, short, speech, release)) for _ in range(2))
    kinds = [[next(answers).WhichOneof("lipsync_response") for _ in range(3)] for answers in (first, second)]
    assert kinds == 2 * [["service_info", "config", "keepalive"]]
    with pytest.raises(grpc.RpcError) as caught:
        list(client.call(api, channel, stalled(api, short, speech, release)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    release.set()
    assert [sum(len(answer.video_file_data) for answer in answers) > 1000 for answers in (first, second)] == [True, True]
    assert soon(lambda: not any(temp.iterdir()))


def test_a_client_that_sends_no_more_is_given_up(api: SimpleNamespace, short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    never = threading.Event()
    with Server(ServiceSettings(port=0, http_port=0, idle=1.0, temp=tmp_path)) as server, \
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            list(client.call(api, channel, stalled(api, short, speech, never)))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(grpc.RpcError) as caught:
            list(client.call(api, channel, iter(never.wait, True)))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED and "config" in caught.value.details()
        never.set()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("mutual", [False, True])
def test_tls(api: SimpleNamespace, short: SimpleNamespace, speech: bytes, mutual: bool, tmp_path: Path) -> None:
    """A client without a certificate of its own is let in where the server asks for none."""
    ca = trustme.CA()
    own, theirs = ca.issue_cert("localhost"), ca.issue_cert("client.test")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in own.cert_chain_pems:
        pem.write_to_path(tmp_path / "cert.pem", append=True)
    settings = ServiceSettings(host="localhost", port=0, http_port=0, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem",
                               client_ca=tmp_path / "ca.pem" if mutual else None)
    root = ca.cert_pem.bytes()
    plain = grpc.ssl_channel_credentials(root)
    named = grpc.ssl_channel_credentials(root, theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())

    def dub(credentials: grpc.ChannelCredentials) -> bool:
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            stream = client.requests(api, api.pb.LipsyncConfig(), short.front, speech)
            return "video_file_data" in client.read_new(client.call(api, channel, stream), tmp_path / "out.mp4")

    with Server(settings) as server:
        assert dub(named)
        if mutual:
            with pytest.raises(grpc.RpcError):
                dub(plain)
        else:
            assert dub(plain)


def test_settings_that_can_t_be_are_said(tmp_path: Path) -> None:
    for settings, word in ((ServiceSettings(port=70_000), "port"), (ServiceSettings(streams=0), "streams"),
                           (ServiceSettings(idle=0), "idle"), (ServiceSettings(certificate=tmp_path / "c.pem"), "TLS"),
                           (ServiceSettings(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem"), "no file")):
        with pytest.raises(LipSyncError, match=word):
            settings.check()


def test_a_taken_port_is_said(server: Server) -> None:
    with pytest.raises(LipSyncError, match="port"):
        Server(ServiceSettings(port=server.port, http_port=0))
    with pytest.raises(LipSyncError, match="http-port"):
        Server(ServiceSettings(port=0, http_port=server.http_port))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can answer")
def test_sigterm_lets_what_runs_finish(api: SimpleNamespace, short: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    """Readiness turns off first, new requests are refused, the running one gets its whole file."""
    process = subprocess.Popen([sys.executable, "-m", "lipsync_core", "serve", "--port", "0", "--http-port", "0", "--keepalive", "0.2"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        ports = SimpleNamespace(**dict(zip(("port", "http_port"), map(int, re.findall(r":(\d+)", process.stdout.readline())))))
        release = threading.Event()
        with grpc.insecure_channel(f"127.0.0.1:{ports.port}") as channel:
            answers = client.call(api, channel, stalled(api, short, speech, release))
            next(answers)
            assert http(ports, "/v1/health/ready")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert soon(lambda: http(ports, "/v1/health/ready") == (503, json.dumps({"status": "not ready"}) + "\n"))
            with pytest.raises(grpc.RpcError) as caught:
                list(client.call(api, channel, stalled(api, short, speech, release)))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            release.set()
            assert sum(len(answer.video_file_data) for answer in answers) > 1000
        assert process.wait(20) == 0
        log = process.stderr.read()
        assert "session a test: begins" in log and "36 frames" in log
    finally:
        process.kill()


def test_a_client_that_takes_nothing_is_given_up(api: SimpleNamespace, speech: bytes, tmp_path: Path) -> None:
    """Its answers pile up in the connection, then in the server, which stops working for it. Noise without losses: 20 MB and more."""
    noise = [np.random.default_rng(i).integers(0, 256, (480, 640, 3), np.uint8) for i in range(48)]
    large = remuxed(write_clip(tmp_path / "noise.mp4", noise, options={"crf": "20", "preset": "ultrafast"}), tmp_path / "front.mp4", True)
    (tmp_path / "temp").mkdir()
    config = api.pb.LipsyncConfig(output_video_encoding=api.video.VideoEncoding(lossless=True))
    with Server(ServiceSettings(port=0, http_port=0, idle=1.0, temp=tmp_path / "temp", streams=1)) as server, \
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        answers = client.call(api, channel, client.requests(api, config, large, speech))
        next(answers)
        assert soon(lambda: any((tmp_path / "temp").iterdir())) and soon(lambda: not any((tmp_path / "temp").iterdir()), 60)
        with pytest.raises(grpc.RpcError):
            list(answers)
