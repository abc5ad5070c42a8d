"""The page's question who is in a video."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from host.comfy import Server


def asked(server: Server, content: bytes) -> tuple[int, dict]:
    request = urllib.request.Request(f"http://{server.address}/openlipsync/faces", content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_video_s_faces_come_with_a_picture(server: Server) -> None:
    status, told = asked(server, json.dumps({"file": "clip.mp4 [input]"}).encode())
    assert status == 200 and len(told["boxes"]) == 1 and told["picture"].startswith("data:image/jpeg;base64,")
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(told["picture"].split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (told["height"], told["width"])
    x0, y0, x1, y1 = told["boxes"][0]
    assert 0 < x0 < x1 < told["width"] and 0 < y0 < y1 < told["height"]
    _, told = asked(server, b'{"file": "two_people.mp4"}')
    assert [box[0] < told["width"] / 2 for box in told["boxes"]] == [True, False]


@pytest.mark.parametrize(("content", "status"), [(b'{"file": "none.mp4"}', 404), (b'{"file": "../../main.py"}', 404), (b'{"file": 3}', 404),
                                                 (b"[]", 404), (b"nothing", 404), (b'{"file": "/etc/passwd"}', 404),
                                                 (b'{"file": "../user/comfyui.log"}', 404), (b'{"file": "\\u0000"}', 404)])
def test_what_is_no_file_of_the_input_folder_is_refused(server: Server, content: bytes, status: int) -> None:
    found, told = asked(server, content)
    assert found == status and told["error"].endswith(".")


def test_a_file_that_is_no_video_is_said_in_a_sentence(server: Server) -> None:
    (server.base / "input" / "noise.mp4").write_bytes(b"no video at all")
    status, told = asked(server, b'{"file": "noise.mp4"}')
    assert status == 422 and "can't be read as video" in told["error"]
