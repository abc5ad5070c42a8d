"""What the page asks when somebody wants to choose a face by clicking (`web/face_picker.js`)."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web
from server import PromptServer

ROUTE = "/openlipsync/faces"


def register() -> None:
    """The route, once a server is there."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.routes.post(ROUTE)(faces)


async def faces(request: web.Request) -> web.Response:
    """{"file": name in the input folder, as Load Video has it} -> a frame of it as JPEG and everybody's box in it, from the left."""
    try:
        path = file_of((await request.json())["file"])
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        path = None
    if path is None:
        return web.json_response({"error": "There is no such file in the input folder."}, status=404)
    from ..lipsync_core.errors import LipSyncError

    try:
        return web.json_response(await asyncio.to_thread(look, path))
    except (LipSyncError, ValueError) as error:
        return web.json_response({"error": str(error)}, status=422)


def file_of(name: str) -> Path | None:
    """A file by the name that Load Video has for it; None for one outside the host's folders."""
    name, folder = folder_paths.annotated_filepath(name)
    folder = Path(folder or folder_paths.get_input_directory()).resolve()
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder) and path.is_file() else None


def look(path: Path) -> dict[str, Any]:
    """The answer for a file. Raises `LipSyncError`."""
    import cv2
    import numpy as np

    from ..lipsync_core.lineup import line_up
    from ..lipsync_core.media import VideoSource
    from .host_models import face_backend
    from .types import DETECTORS

    found = line_up(VideoSource(path), face_backend(DETECTORS[0]))
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(found.picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 85])
    height, width = found.picture.shape[:2]
    return {"picture": "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii"), "width": width, "height": height,
            "boxes": found.boxes}
