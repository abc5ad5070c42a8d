"""Every measure of a report: key, name, unit, what is good. What fools it stands in the docstring of the function that works it out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from . import curves, pixel_measures, sound_measures, sync_scores, truth_measures, witness
from .container import Timing


@dataclass(frozen=True)
class Measure:
    """One line of the table."""

    key: str
    title: str
    unit: str
    function: Callable
    """Whose docstring tells what a good value is and what fools it."""
    good: tuple[float | None, float | None] = (None, None)
    """Lowest and highest good value; None = open. Both None: there is no good or bad, only a comparison."""
    digits: int = 2
    count: str = ""
    """Key of `Evaluation.counts`: on how many frames, pairs or closures it rests."""
    needs: str = ""
    """'truth', 'source', 'foreign sound' or 'SyncNet'; empty = the dub alone."""

    def judge(self, value: float | None) -> bool | None:
        """Whether `value` is good; None where that can't be said."""
        if value is None or self.good == (None, None):
            return None
        low, high = self.good
        return bool((low is None or value >= low) and (high is None or value <= high))

    def show(self, value: float | None) -> str:
        return "–" if value is None else f"{value:.{self.digits}f}"

    def wanted(self) -> str:
        """The good range in words."""
        low, high = self.good
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""

    def explanation(self) -> str:
        """The docstring in one paragraph a line."""
        text = inspect.getdoc(self.function) or ""
        return "\n".join(" ".join(part.split()) for part in text.replace("`", "").split("\n\n"))


# Good ranges: issue 3 ('Done when'); the tests check that each finds its own defect and passes the others'.
MEASURES = (
    Measure("correlation", "Opening, correlation with the truth", "r", truth_measures.correlation, (0.6, None), needs="truth"),
    Measure("best_correlation", "... at the best lag", "r", truth_measures.best_lag, (0.6, None), needs="truth"),
    Measure("spoken_correlation", "... while somebody speaks", "r", sound_measures.spoken_correlation, (0.6, None), needs="truth"),
    Measure("lag_ms", "Best lag (positive: mouth late)", "ms", truth_measures.best_lag, (-40, 40), 0, needs="truth"),
    Measure("width_correlation", "Width, correlation with the truth", "r", truth_measures.correlation, needs="truth"),
    Measure("range", "Range of the opening over the truth's", "ratio", truth_measures.range_ratio, (0.7, 1.4), needs="truth"),
    Measure("lip_distance", "Lip landmarks, distance from the truth's", "% of eyes", truth_measures.lip_distance, needs="truth"),
    Measure("closure_recall", "Closures of the truth that the dub has", "%",
            truth_measures.closure_recall, (70, None), 0, "truth_closures", needs="truth"),
    Measure("closure_precision", "Closures of the dub that the truth has", "%",
            truth_measures.closure_precision, (50, None), 0, "dub_closures", needs="truth"),
    Measure("closure", "Lips shut", "% of frames", curves.closure, digits=0),
    Measure("closure_truth", "... in the truth", "% of frames", curves.closure, digits=0, needs="truth"),
    Measure("leak", "Lips moving in silence", "% of silent frames", sound_measures.leak, (None, 3), 1, "silent_frames"),
    Measure("leak_truth", "... in the truth", "% of silent frames", sound_measures.leak, digits=1, needs="truth"),
    Measure("leftover", "Source's own mouth left over", "r", sound_measures.leftover, (-0.15, 0.15), 2, "leftover_frames", "foreign sound"),
    Measure("leftover_chance", "... that chance alone reaches", "r", sound_measures.leftover_chance, needs="foreign sound"),
    Measure("heard_sync", "Sync with the sound, as a listener expects it", "r", witness.heard_sync, (0.5, None)),
    Measure("heard_sync_truth", "... of the true lips: its ceiling", "r", witness.heard_sync, needs="truth"),
    Measure("heard_lag_ms", "... at this lag (positive: mouth late)", "ms", witness.heard_sync, (-40, 40), 0),
    Measure("lse_c", "LSE-C, SyncNet's confidence", "distance", sync_scores.lse_c, (3, None), 2, "sync_windows", "SyncNet"),
    Measure("lse_d", "LSE-D, SyncNet's distance", "distance", sync_scores.lse_d, needs="SyncNet"),
    Measure("syncnet_offset_ms", "SyncNet's offset (positive: mouth late)", "ms", sync_scores.offset_frames, (-40, 40), 0, needs="SyncNet"),
    Measure("sharpness", "Sharpness of the lower face's skin", "ratio", pixel_measures.sharpness, (0.9, 1.1), needs="source"),
    Measure("sharpness_mouth", "Sharpness of the lips", "ratio", pixel_measures.sharpness, (0.75, 1.35), needs="source"),
    Measure("sharpness_beside", "... of the cheeks above (encoding alone)", "ratio", pixel_measures.sharpness, needs="source"),
    Measure("seam", "Seam: gradient along the rim", "ratio", pixel_measures.seam, (None, 1.1), needs="source"),
    Measure("colour", "Colour shift at the rim", "of 255", pixel_measures.colour_shift, (None, 2), needs="source"),
    Measure("flicker", "Flicker on still passages", "ratio", pixel_measures.flicker, (None, 1.15), 2, "still_pairs", "source"),
    Measure("outside_equal", "Outside: samples exactly equal", "%", pixel_measures.Outside.numbers, digits=3, needs="source"),
    Measure("outside_difference", "Outside: mean difference", "of 255", pixel_measures.Outside.numbers, (None, 1.5), 3, needs="source"),
    Measure("outside_psnr", "Outside: PSNR (– = nothing differs)", "dB", pixel_measures.Outside.numbers, (38, None), 1, needs="source"),
    Measure("audio_offset_ms", "Sound begins after the picture", "ms", Timing.offset.fget, (-20, 20), 1),
)
