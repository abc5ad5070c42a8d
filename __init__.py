"""OpenLipSync for ComfyUI: dub a video, so that a face says new speech and nothing else in the picture changes."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called by ComfyUI; nothing is imported before, so that the folder can be imported without a host."""
    from .nodes.extension import OpenLipSyncExtension

    return OpenLipSyncExtension()
