"""What SyncNet's distances say: LSE-D, LSE-C and the offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REACH = 15
"""Pictures at 25 a second by which the sound is shifted either way: 0.6 s."""
FRAME_MS = 40


def lse_d(distances: np.ndarray) -> float:
    """LSE-D: the smallest mean distance between the embeddings of mouth and sound over all shifts (31,); smaller is better.

    Real talking heads have 6 to 8 (Wav2Lip, Prajwal et al. 2020, gives 6.4 to 6.7 for its own on LRS2, LRW and LRS3). Fooled by generators
    that were taught against SyncNet, which beat real video; by languages and voices unlike the English television that it was
    taught on; by small or turned faces; and by a constant lag of up to 0.6 s, which is taken out (see the offset).
    """
    return float(distances.min())


def lse_c(distances: np.ndarray) -> float:
    """LSE-C, SyncNet's confidence: how far the best shift lies below the median of all shifts (31,); larger is better.

    Below 3 mouth and sound have little to do with one another; real talking heads have 6 to 9. Fooled by what fools LSE-D; long pauses and
    clips of a few seconds lower it, so compare only dubs of the same clip with the same sound.
    """
    return float(np.median(distances) - distances.min())


def offset_frames(distances: np.ndarray) -> int:
    """The shift at which mouth and sound fit best, in pictures of 40 ms, -15..15. Positive: the mouth comes late.

    Within one is good: it is only read to a picture. Fooled by anything with an LSE-C below 3, which fits nowhere, so that chance
    decides; and by files whose own sound is off.
    """
    return REACH - int(distances.argmin())


@dataclass(frozen=True)
class SyncScores:
    """The scores of one clip."""

    lse_c: float
    lse_d: float
    offset_frames: int
    windows: int
    """Windows of five pictures that they rest on."""
    passages: int
    """Uninterrupted stretches of the person that they are averaged over."""

    @property
    def offset_ms(self) -> float:
        """Positive: the mouth comes late."""
        return float(FRAME_MS * self.offset_frames)


def combine(distances: Sequence[np.ndarray], windows: Sequence[int]) -> SyncScores:
    """Passages with their distances (31,) each and their numbers of windows -> the clip's scores.

    As published, every passage is scored by itself and the scores are averaged; the offset, which a file has but one of, is that of all
    windows together.
    """
    whole = np.average(np.stack(distances), axis=0, weights=windows)
    return SyncScores(float(np.mean([lse_c(d) for d in distances])), float(np.mean([lse_d(d) for d in distances])), offset_frames(whole),
                      sum(windows), len(distances))
