"""`evaluate`: from files to an `Evaluation`, as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..audio import load_speech
from ..errors import FaceError, MediaError
from ..faces import FaceBackend, FaceRule, create_backend
from ..media import FrameView, VideoSource
from ..threads import Prefetch
from ..types import SPEECH_RATE, FaceTrack, Hooks
from . import sound_measures, truth_measures
from .clip import Clip
from .container import Timing, passed_through, timing_of
from .curves import Curves, closure, closure_threshold, curves_of, resample
from .landmarks import Person, check_landmarks, find_mouths, find_person, model_name
from .pixel_measures import PixelMeter, flicker, lip_motion
from .report import Evaluation
from .sound_measures import Sound
from .strip import make_tiles
from .syncnet import TOO_SHORT, score
from .syncnet_file import NO_FILE, find_syncnet, load_syncnet
from .syncnet_net import SyncNet
from .witness import expected, heard_sync

SPARE = 0.3
"""Seconds of source and truth that are looked at beyond the dub's end."""


def evaluate(dubbed: Path | str, source: Path | str | None = None, truth: Path | str | None = None,
             audio: Path | str | None = None, landmarks: str | Path = "builtin", *, source_start: float = 0.0,
             face: FaceRule = "largest", syncnet: Path | str | None = None, hooks: Hooks | None = None) -> Evaluation:
    """Measure a dubbed clip.

    `source` is the clip that was dubbed (from `source_start` seconds on), `truth` one in which the same person really says the words,
    `audio` the sound that drives (default: the dubbed clip's own; a file's sound begins with the first frame). `landmarks`: 'builtin',
    'face-alignment', or the path of a Python interpreter with mediapipe. `syncnet`: the file of SyncNet v2 (default: syncnet_v2.model in
    the model folder, if it is there). What needs a file that is not given is None. Memory
    does not grow with the clip but for a few numbers a frame. Raises `LipSyncError` and its kinds.
    """
    return evaluate_several([dubbed], source, truth, audio, landmarks, source_start=source_start, face=face, syncnet=syncnet,
                            hooks=hooks)[0]


def evaluate_several(dubbed: Sequence[Path | str], source: Path | str | None = None, truth: Path | str | None = None,
                     audio: Path | str | None = None, landmarks: str | Path = "builtin", *, source_start: float = 0.0,
                     face: FaceRule = "largest", syncnet: Path | str | None = None,
                     hooks: Hooks | None = None) -> list[Evaluation]:
    """`evaluate` for several dubs of one source; source and truth are looked at once."""
    hooks = hooks or Hooks()
    check_landmarks(landmarks)
    files = [Path(file) for file in dubbed]
    timings = [timing_of(file) for file in files]
    found = find_syncnet(syncnet)
    network = load_syncnet(found) if found else None
    limit = max(timing.video_seconds for timing in timings) + SPARE if all(t.video_seconds for t in timings) else None
    backend = create_backend()
    before = look_at(Path(source), landmarks, face, hooks, limit, backend, start=source_start) if source else None
    if truth and source and not source_start and Path(truth).exists() and Path(source).exists() and Path(truth).samefile(source):
        real = before
    else:
        real = look_at(Path(truth), landmarks, face, hooks, limit, backend) if truth else None
    results: list[Evaluation] = []
    for file, timing in zip(files, timings):
        try:
            speech = load_speech(Path(audio) if audio else file)
        except MediaError as error:
            if audio:
                raise
            raise MediaError(f"{file} has no sound of its own to drive the mouth: name the recording with --audio.") from error
        sound = Sound(speech.samples, 0.0 if audio else timing.offset)
        dub = look_at(file, landmarks, face, hooks, None, backend, timing=timing, beside=before)
        result = _with_heard(_measure(file, dub, before, real, sound, source, truth, audio, landmarks, hooks), dub, real,
                             expected(speech.samples[:round((timing.video_seconds + SPARE) * SPEECH_RATE)]
                                      if timing.video_seconds else speech.samples, sound.start), sound.start)
        results.append(_with_syncnet(result, network, dub, speech.samples, sound.start, hooks))
    return results


def _with_heard(result: Evaluation, dub: Clip, truth: Clip | None, sound: Curves, start: float) -> Evaluation:
    r, lag = heard_sync(dub.curves, sound)
    values = {"heard_sync": r, "heard_lag_ms": lag}
    if truth is not None:
        values["heard_sync_truth"], _ = heard_sync(truth.curves.shifted(start - truth.timing.offset), sound)
    return replace(result, measures=result.measures | values)


def _with_syncnet(result: Evaluation, network: SyncNet | None, dub: Clip, samples: np.ndarray, start: float,
                  hooks: Hooks) -> Evaluation:
    if network is None:
        return replace(result, lse_note=NO_FILE)
    scores = score(network, dub.source, dub.person, samples, start, hooks)
    if scores is None:
        return replace(result, lse_note=TOO_SHORT)
    values = {"lse_c": scores.lse_c, "lse_d": scores.lse_d, "syncnet_offset_ms": scores.offset_ms}
    counts = {"sync_windows": scores.windows, "sync_passages": scores.passages}
    return replace(result, measures=result.measures | values, counts=result.counts | counts, lse_note="")


def look_at(file: Path, landmarks: str | Path, face: FaceRule, hooks: Hooks, limit: float | None, backend: FaceBackend, *,
            start: float = 0.0, timing: Timing | None = None, beside: Clip | None = None) -> Clip:
    """Find the person of a clip and the landmarks. `beside`: the source of this dub, in which the same face is at the same place."""
    source = VideoSource(file, start=start)
    if beside is not None and source.info.display_size != beside.source.info.display_size:
        sizes = ["{} is {}x{}".format(c.file, *c.info.display_size) for c in (source, beside.source)]
        raise MediaError(f"{sizes[0]} and {sizes[1]} pixels: --source must be the clip that was dubbed, in the same size.")
    person = find_person(source, face, hooks, limit, backend, beside.person if beside else None)
    if not np.isfinite(person.mouths.points).any():
        raise FaceError(f"There is no face in {file}: give a clip with a visible face.")
    mouths = find_mouths(source, person, landmarks, face, hooks, limit)
    return Clip(source, person, mouths, curves_of(mouths), timing or timing_of(file))


def _measure(file: Path, dub: Clip, source: Clip | None, truth: Clip | None, sound: Sound, source_file: Path | str | None,
             truth_file: Path | str | None, audio: Path | str | None, landmarks: str | Path, hooks: Hooks) -> Evaluation:
    values: dict[str, float | None] = {}
    counts: dict[str, int] = {}
    notes: list[str] = []
    opening = dub.curves.opening
    # Mouth against sound: each clip's picture is timed by its own sound track, should the two begin apart.
    real = truth.curves.shifted(sound.start - truth.timing.offset) if truth else None
    threshold = closure_threshold((truth or source or dub).curves.opening)
    values["closure"] = closure(opening, threshold)
    values["leak"], counts["silent_frames"] = sound_measures.leak(dub.curves, sound)
    if values["leak"] is None:
        notes.append(f"The driving sound is silent in {counts['silent_frames']} frames only: no leak is measured.")
    distances = np.full(len(opening), np.nan)
    if real is not None:
        values["correlation"] = truth_measures.correlation(dub.curves, real)
        values["lag_ms"], values["best_correlation"] = truth_measures.best_lag(dub.curves, real)
        values["spoken_correlation"] = sound_measures.spoken_correlation(dub.curves, real, sound)
        values["width_correlation"] = truth_measures.correlation(dub.curves, real, "width")
        values["range"] = truth_measures.range_ratio(dub.curves, real)
        values["lip_distance"], distances = truth_measures.lip_distance(dub.curves, real)
        values["closure_recall"], counts["truth_closures"] = truth_measures.closure_recall(dub.curves, real, threshold)
        values["closure_precision"], counts["dub_closures"] = truth_measures.closure_precision(dub.curves, real, threshold)
        values["closure_truth"] = closure(real.opening, threshold)
        values["leak_truth"], _ = sound_measures.leak(real, sound)
        if values["lag_ms"] is None:
            notes.append("The mouth follows the truth too little for a lag to mean anything.")
    passed, meter = None, None
    if source is not None:
        passed = passed_through(source.person, source.source.info.display_size)
        if _is_foreign(source, truth, sound, notes):
            values["leftover"], counts["leftover_frames"] = sound_measures.leftover(dub.curves, source.curves)
            values["leftover_chance"] = sound_measures.leftover_chance(dub.curves, source.curves)
        meter = _compare_pixels(dub, source, hooks)
        _pixel_values(meter, dub, source, values, counts)
        if abs(float(dub.mouths.times[-1]) - float(source.mouths.times[min(len(opening), len(source.mouths.times)) - 1])) > 0.05:
            notes.append("Frames of the dub and of the source are not at the same times: check --source-start.")
    values["audio_offset_ms"] = None if dub.timing.audio_start is None else 1000 * dub.timing.offset
    name, note = model_name(landmarks)
    moments = {"Lip distance": distances}
    if meter is not None:
        moments |= {"Sharpness": _column(meter, "sharpness"), "Seam": np.array([_worst(f.seam) for f in meter.frames])}
    clips = {"dub": dub, "source": source, "truth": truth if truth is not source else None}
    tiles = make_tiles({key: clip for key, clip in clips.items() if clip is not None}, moments, hooks)
    return Evaluation(str(file), _text(source_file), _text(truth_file), str(audio or file), name, note, len(opening),
                      int(np.isfinite(opening).sum()), values, counts, dub.timing, passed, notes, _curves(dub, source, real, sound), tiles)


def _text(file: Path | str | None) -> str | None:
    return None if file is None else str(file)


def _is_foreign(source: Clip, truth: Clip | None, sound: Sound, notes: list[str]) -> bool:
    """Whether the source says something else than the driving sound."""
    if truth is source:
        return False
    try:
        own = Sound(load_speech(source.source.file, start=float(source.source.start)).samples)
    except MediaError:
        return True                                                   # it is mute
    if sound_measures.same_sound(own, sound):
        notes.append("The driving sound is the source's own: what is left over of its mouth means nothing and is not reported.")
        return False
    return True


def _compare_pixels(dub: Clip, source: Clip, hooks: Hooks) -> PixelMeter:
    """Both clips decoded in step."""
    meter = PixelMeter()
    total = len(dub.mouths.times)
    with Prefetch(dub.source.frames(), 2) as new, Prefetch(source.source.frames(), 2) as old:
        for a, b in zip(new, old):
            hooks.check_interrupt()
            if a.index >= total or a.index >= len(source.person.track_rows):
                break
            rows = _rows(source.person, a.index)
            mouths = dub.mouths.points[a.index], source.mouths.points[a.index]
            meter.feed(FrameView(a.frame, dub.source.info.rotation), FrameView(b.frame, source.source.info.rotation), rows,
                       mouths if np.isfinite(mouths).all() else None)
            hooks.progress("pixels", a.index + 1, total)
    return meter


def _rows(person: Person, frame: int) -> list[tuple[FaceTrack, int]]:
    """Everybody who may have been dubbed in a frame, the measured person first."""
    first = person.track_rows[frame]
    rows = [] if first is None else [first]
    for track in person.others:
        row = int(np.searchsorted(track.frames, frame))
        if row < len(track) and track.frames[row] == frame and (first is None or track is not first[0]):
            rows.append((track, row))
    return [(track, row) for track, row in rows if track.activation[row] > 0]


def _column(meter: PixelMeter, name: str) -> np.ndarray:
    return np.array([getattr(frame, name) for frame in meter.frames], np.float64)


def _median(values: np.ndarray) -> float | None:
    seen = values[np.isfinite(values)]
    return float(np.median(seen)) if len(seen) else None


def _worst(bands: np.ndarray) -> float:
    return float(np.nanmax(bands)) if np.isfinite(bands).any() else np.nan


def _pixel_values(meter: PixelMeter, dub: Clip, source: Clip, values: dict[str, float | None], counts: dict[str, int]) -> None:
    count = len(meter.frames)
    for name in ("sharpness", "sharpness_mouth", "sharpness_beside", "colour"):
        values[name] = _median(_column(meter, name))
    bands = [m for m in (_median(band) for band in np.array([f.seam for f in meter.frames]).reshape(count, -1).T) if m is not None]
    values["seam"] = max(bands, default=None)
    still = np.array([frame.still for frame in meter.frames]).reshape(count, 2)
    motion = np.stack([lip_motion(clip.curves.lips)[:count] for clip in (dub, source)], 1)
    values["flicker"], counts["still_pairs"] = flicker(still, motion)
    values |= meter.outside.numbers()
    counts["compared_frames"] = count
    counts["changed_frames"] = sum(frame.changed for frame in meter.frames)


def _curves(dub: Clip, source: Clip | None, truth: Curves | None, sound: Sound) -> dict[str, np.ndarray]:
    times = dub.curves.times
    result = {"time": times, "opening": dub.curves.opening, "width": dub.curves.width}
    for name, curve in (("source", source.curves if source else None), ("truth", truth)):
        if curve is not None:
            result[f"opening_{name}"] = resample(curve.times, curve.opening, times)
            result[f"width_{name}"] = resample(curve.times, curve.width, times)
    result["speech"] = np.interp(times, sound.times, sound.activity, left=0, right=0)
    within = sound.times <= (times[-1] if len(times) else 0) + 0.1
    return result | {"sound_time": sound.times[within], "sound_level": sound.level[within]}
