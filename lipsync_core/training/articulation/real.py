"""Real clips with sound of their own: what the mouth did, from landmarks, beside the levels of the sound.

A person's opening, width and jaw are measured in the same pose-free frame and over the same range as `morph` draws them in
(`generators.morph.geometry`), so that a shape learned here means the same there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...audio import load_speech
from ...dsp import band_levels, speech_activity
from ...errors import MediaError
from ...generators.morph.articulation_net import BANDS, RATE, STRIDE
from ...generators.morph.geometry import JAW, JAW_SHARE, LIPS, RANGE_LIMITS, STABLE, canonical_stable, fit_similarity, inner_gap, to_complex

TEACHING = {"grid_s1__": -0.04, "talking__edtalk_pose2": 0.07, "talking__astorfi": -0.01, "talking__grid_bbaf2n": -0.03,
            "talking__grid_lbbc2a": -0.03, "talking__grid_lwbsza": -0.03}
"""Clips that may teach (class A and B of the media's README, those whose sound belongs to the picture): begin of the track file's
name, and by how many seconds the sound comes late (< 0: early), which is taken out. Measured with networks taught on synthetic
speech, relative to broadcast clips (mean offset 0); better than 40 ms nobody can tell."""
HELD_OUT = {"talking__testonly_dfrf_cnn2": 0.0, "talking__testonly_wda_BobMenendez": 0.03, "talking__testonly_wda_Alexandria": 0.11,
            "talking__testonly_wda_EdMarkey": 0.0, "talking__testonly_wda_KatieHill": None, "talking__latentsync_demo3": 0.07,
            "talking__grid_pwij3p": -0.03, "talking__grid_sbia1a": -0.03, "talking__grid_swiz3n": -0.03}
"""People that the networks are not taught on (the reading is taught on the first five, see `SPEAKERS`: its own figures are those that
`reading` prints with people left out), and by how much the media's README says that their sound is late (None: not known)."""
UNTOUCHED = {"talking__dhlive_demo": None}
"""A clip that no constant was chosen on either."""
SPEAKERS = {name: (f"talking__{name}",) for name in (
    "edtalk_pose2", "astorfi_sample", "mimictalk_german", "mimictalk_address", "dfrf_french", "edtalk_address", "vretalking_1",
    "vretalking_4", "liveportrait_d20", "testonly_dfrf_cnn2", "testonly_wda_Alexandria", "testonly_wda_BobMenendez",
    "testonly_wda_EdMarkey", "testonly_wda_KatieHill")}
"""People that the generator's reading of the speech encoder is taught on, with the beginnings of their track files' names: classes A and
B of the media's README whose sound belongs to the picture, and the five of class C that it frees for this. Offsets are estimated."""
WITNESSES = {"GRID s1": ("grid_s1__", "talking__grid_bbaf2n"),
             **{name: (f"talking__{name}",) for name in ("grid_lbbc2a", "grid_lwbsza", "grid_pwij3p", "grid_sbia1a", "grid_swiz3n",
                                                        "latentsync_demo3", "dhlive_demo")}}
"""People that the sync score's own reading is taught on: the generator's learns width and jaw from them, and no opening (whose r is the
same without them)."""
STRANGERS = {name: (f"talking__{name}",) for name in (
    "testonly_pcavs_00002", "testonly_pcavs_00086", "testonly_pcavs_00373", "testonly_pcavs_620900105", "testonly_pcavs_731200067",
    "testonly_pcavs_741400104", "testonly_vretalking_2", "testonly_vretalking_3")}
"""People for tests only."""
FEW = 3
"""Of a person with hundreds of clips every third one teaches a reading."""


@dataclass(frozen=True)
class RealClip:
    """One clip on a grid of 50 shapes a second (RATE / STRIDE)."""

    name: str
    levels: np.ndarray
    """float16 (2 m, BANDS), dB."""
    opening: np.ndarray
    """float32 (m,), 1 = the widest of the person's ordinary speech."""
    width: np.ndarray
    """float32 (m,), -1..1, corners relative to their own mean."""
    jaw: np.ndarray
    """float32 (m,), chin's drop over what a full opening takes."""
    seen: np.ndarray
    """bool (m,): the face was there."""
    spoken: np.ndarray
    """float32 (m,), 0..1."""


def measure(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """Landmarks (n, 68, 2) of one person -> gap, width, chin of each frame, canonical units (outer-eye distance 1)."""
    stable = canonical_stable(landmarks)
    points = to_complex(landmarks)
    a, b = fit_similarity(stable, points[:, STABLE])
    canonical = (points - b[:, None]) / a[:, None]
    lips = canonical[:, LIPS]
    return {"gap": inner_gap(lips)[:, 2], "width": np.abs(lips[:, 6] - lips[:, 0]), "chin": canonical[:, JAW[8]].imag}


def load_clips(tracks: Path, media: Path, wanted: Mapping[str, float | None], *, shift: bool) -> list[RealClip]:
    """The clips whose track file's name begins with a key of `wanted`; with `shift`, its offset is taken out."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(tracks.glob("*.npz")):
        if key := next((k for k in wanted if file.stem.startswith(k)), None):
            groups.setdefault(key, []).append(file)
    clips = []
    for key, files in groups.items():
        scale = person_range(files[::10]) if len(files) > 10 else None
        found = [load_clip(file, media, scale, (wanted[key] or 0.0) if shift else 0.0) for file in files]
        clips += [clip for clip in found if clip is not None]
    return clips


def load_speakers(tracks: Path, media: Path, speakers: Mapping[str, tuple[str, ...]]) -> list[tuple[str, RealClip]]:
    """Clips of `speakers` (`SPEAKERS`, `WITNESSES`, `STRANGERS`) with their persons, their offsets left in."""
    result = []
    for person, prefixes in speakers.items():
        for prefix in prefixes:
            clips = load_clips(tracks, media, {prefix: None}, shift=False)
            result += [(person, clip) for clip in (clips[::FEW] if len(clips) > 100 else clips)]
    return result


def load_clip(tracks: Path, media: Path, scale: float | None = None, offset: float = 0.0) -> RealClip | None:
    """The clip of a track file; None where it has no sound or hardly a face. `scale`: the person's range if known from more
    than this clip; `offset`: seconds that the sound is late, to be taken out."""
    with np.load(tracks) as data:
        times, landmarks = data["times"], data["landmarks"]
    folder, _, stem = tracks.stem.partition("__")
    file = next((media / folder).glob(f"{stem}.*"))
    good = np.isfinite(landmarks[:, 0, 0])
    if good.sum() < 25:
        return None
    try:
        samples = load_speech(file).samples
    except MediaError:
        return None
    values = measure(landmarks[good])
    gap = np.maximum(values["gap"] - np.quantile(values["gap"], 0.05), 0)
    span = scale or float(np.clip(np.quantile(gap, 0.97), *RANGE_LIMITS))
    width = (values["width"] - np.median(values["width"])) / (0.12 * float(np.median(values["width"])))
    jaw = (values["chin"] - np.quantile(values["chin"], 0.1)) / (JAW_SHARE * span)
    count = int(min(times[-1] + 0.04, len(samples) / 16_000) * RATE / STRIDE)
    grid = np.arange(count) * STRIDE / RATE
    levels = band_levels(samples, BANDS, RATE)
    need = STRIDE * count
    levels = np.pad(levels, ((0, max(0, need - len(levels))), (0, 0)), mode="edge")[:need]
    spoken = speech_activity(levels, RATE)[::STRIDE]
    at = times[good] + offset
    nearest = np.clip(np.searchsorted(at, grid), 1, len(at) - 1)
    seen = np.minimum(np.abs(grid - at[nearest]), np.abs(grid - at[nearest - 1])) < 0.06
    curves = [np.interp(grid, at, v).astype(np.float32) for v in (gap / span, np.clip(width, -1.5, 1.5), np.clip(jaw, -0.5, 1.5))]
    return RealClip(tracks.stem, levels.astype(np.float16), *curves, seen, spoken.astype(np.float32))


def person_range(files: list[Path]) -> float:
    """Range of one person from several clips."""
    gaps = []
    for file in files:
        with np.load(file) as data:
            landmarks = data["landmarks"]
        good = np.isfinite(landmarks[:, 0, 0])
        if good.sum() > 25:
            gap = measure(landmarks[good])["gap"]
            gaps.append(np.maximum(gap - np.quantile(gap, 0.05), 0))
    return float(np.clip(np.quantile(np.concatenate(gaps), 0.97), *RANGE_LIMITS))


def best_lag(predicted: np.ndarray, clip: RealClip, reach: float = 0.24) -> tuple[float, float, float]:
    """Correlation of `predicted` (m,) with the clip's opening without a shift, the best within `reach` seconds, and its lag in
    seconds, positive where the prediction (so the sound) comes late."""
    steps = round(reach * RATE / STRIDE)
    found = {}
    m = len(clip.opening)
    for lag in range(-steps, steps + 1):
        ours = predicted[max(0, lag):m + min(0, lag)]
        theirs, seen = clip.opening[max(0, -lag):m + min(0, -lag)], clip.seen[max(0, -lag):m + min(0, -lag)]
        ours, theirs = ours[seen], theirs[seen]
        ok = len(ours) > 20 and ours.std() > 1e-6 and theirs.std() > 1e-6
        found[lag] = float(np.corrcoef(ours, theirs)[0, 1]) if ok else 0.0
    best = max(found, key=found.__getitem__)
    return found[0], found[best], best * STRIDE / RATE
