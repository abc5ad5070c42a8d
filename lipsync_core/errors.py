"""What can go wrong, as exceptions whose text is one sentence for the user.

The sentence names the thing (file, option, frame) and the way out. The command line prints it without a traceback,
a ComfyUI node shows it on the node.
"""


class LipSyncError(Exception):
    """Base of every error that is the input's or the environment's, not a bug of ours."""


class MediaError(LipSyncError):
    """A file that can't be read as the video or audio it should be."""


class OutputError(LipSyncError):
    """The result can't be written: folder, permission, space, encoder, or the target is also an input."""


class FaceError(LipSyncError):
    """A face that was required is not there, or a face backend can't be used."""


class CheckpointError(LipSyncError):
    """A weights file that is missing, damaged, or not one we know."""


class ShortOfMemoryError(LipSyncError):
    """There is not enough memory, of the GPU or of the machine, for the smallest step. It may pass."""


class Interrupted(BaseException):
    """The user stopped the job. Not an `Exception`, so that no 'go on where it can' swallows it (as ComfyUI's own)."""
