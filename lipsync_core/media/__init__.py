"""Video and audio files: frames in their own pixel format with their own timestamps, and files written whole or not at all."""

from .batch import FrameBatch
from .encoding import Encoding, plan
from .held import FPS, HeldSource
from .pixels import FrameView, own_frame
from .source import SourceFrame, VideoInfo, VideoSource, open_media
from .writer import VideoWriter, check_target

__all__ = ["FPS", "Encoding", "FrameBatch", "FrameView", "HeldSource", "SourceFrame", "VideoInfo", "VideoSource", "VideoWriter",
           "check_target", "open_media", "own_frame", "plan"]
