"""Video and audio files: frames in their own pixel format with their own timestamps, and files written whole or not at all."""

from .batch import FrameBatch
from .carried import Origin
from .encoding import Encoding, plan
from .extended import EXTEND, REVERSE, TAIL, ExtendedSource, longer
from .held import FPS, HeldSource
from .pipe import PipeWriter
from .pixels import FrameView, own_frame
from .source import SourceFrame, VideoInfo, VideoSource, open_media
from .stream import StreamSource
from .writer import VideoWriter, check_target

__all__ = ["EXTEND", "FPS", "REVERSE", "TAIL", "Encoding", "ExtendedSource", "FrameBatch", "FrameView", "HeldSource", "Origin",
           "PipeWriter", "SourceFrame", "StreamSource", "VideoInfo", "VideoSource", "VideoWriter", "check_target", "longer", "open_media",
           "own_frame", "plan"]
