"""The command line: `python -m lipsync_core dub VIDEO AUDIO -o OUT`, and what `--help` lists beside it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .errors import LipSyncError
from .evaluation.command import add_parser as add_evaluate
from .files import check_file
from .models.command import add_parsers as add_models
from .types import Hooks

EXAMPLES = """examples:
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mkv --lossless --face 1 --strength 1.2
  python -m lipsync_core dub interview.mov french.m4a -o dubbed.mov --codec prores --silence keep
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4 --generator wav2lip_gan.pth --generator-options offset_ms=40
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4 --generator wav2lip_gan.pth --restore GFPGANv1.4.pth
  python -m lipsync_core analyze clip.mp4 -o tracks.json --sheet tracks.png
  python -m lipsync_core models
"""
UNITS = {"download": "MB", "check": "MB"}
"""What stages count, if not frames."""


class ProgressBar:
    """One line a stage on stderr: share, frames, frames a second, time left. Without a terminal, a line every 10 %."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.stage, self.begin, self.shown, self.open = "", 0.0, -1.0, False

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self.quiet:
            return
        now = time.monotonic()
        if stage != self.stage:
            self.finish()
            self.stage, self.begin, self.shown = stage, now, -1.0
        share = done / total if total else 0.0
        if self.terminal:
            if now - self.shown < 0.1 and done < total:
                return
            self.shown = now
            width = 28
            filled = round(width * share)
            line = f"\r{stage:9s} [{'#' * filled}{'.' * (width - filled)}] {100 * share:3.0f} % {self._numbers(done, total, now)}"
            sys.stderr.write(f"{line:<90s}")
            self.open = True
        elif share - max(self.shown, 0.0) >= 0.1 or (done == 1 and self.shown < 0) or (done == total and self.shown < 1):
            self.shown = share
            sys.stderr.write(f"{stage}: {100 * share:.0f} % {self._numbers(done, total, now)}\n")
        sys.stderr.flush()

    def _numbers(self, done: int, total: int, now: float) -> str:
        frames = f"{done}/{total or '?'} {UNITS.get(self.stage, 'frames')}"
        if now - self.begin < 0.2:                                    # too early to tell how fast it goes
            return frames
        rate = done / (now - self.begin)
        left = max(0, total - done) / max(rate, 1e-6)
        return f"{frames}, {rate:.1f} a second, {int(left) // 60}:{int(left) % 60:02d} left"

    def finish(self) -> None:
        if self.open:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self.open = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 done, 1 an error said in one sentence, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")                      # file names in any script on any console
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "run"):
        parser.print_help()
        return 2
    logging.basicConfig(level=logging.DEBUG if chosen.debug else logging.ERROR, format="%(name)s: %(message)s")
    logging.getLogger("libav").setLevel(logging.ERROR if chosen.debug else logging.CRITICAL)
    bar = ProgressBar(chosen.quiet)

    def warn(sentence: str) -> None:
        bar.finish()
        sys.stderr.write(f"{sentence}\n")

    try:
        chosen.run(chosen, Hooks(progress=bar, warn=warn))
        bar.finish()
        return 0
    except LipSyncError as error:
        bar.finish()
        if chosen.debug:
            raise
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        bar.finish()
        sys.stderr.write(f"{getattr(chosen, 'stopped', 'stopped; nothing was written')}\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lipsync_core", description="Dub a video: a face says new speech, nothing "
                                     "else in the picture changes.", epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"OpenLipSync {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and logs")
    common.add_argument("--quiet", action="store_true", help="no progress bar")
    faces = argparse.ArgumentParser(add_help=False)
    faces.add_argument("--backend", default="builtin", choices=("builtin", "face-alignment"),
                       help="face models: 'builtin' (default), or 'face-alignment' for hard footage (that package downloads its "
                            "weights on first use)")
    faces.add_argument("--device", default="cpu", help="torch device of the face models, for example cuda or mps (default cpu)")
    faces.add_argument("--start", type=float, default=0.0, metavar="SEC", help="skip this much of the video")
    faces.add_argument("--duration", type=float, metavar="SEC", help="use only this much of the video")
    commands = parser.add_subparsers(title="commands", metavar="{dub,analyze,evaluate,models,convert,download,demo}")
    _dub_parser(commands, [common, faces])
    analyze = commands.add_parser("analyze", parents=[common, faces], help="find and follow faces; tracks as JSON, a picture",
                                  description="Find and follow the faces of a clip. Says which --face number is whom.")
    analyze.add_argument("video", type=Path)
    analyze.add_argument("-o", "--output", type=Path, metavar="JSON", help="tracks as JSON (default: a summary on screen)")
    analyze.add_argument("--sheet", type=Path, metavar="PNG", help="an annotated contact sheet")
    analyze.set_defaults(run=_analyze)
    add_evaluate(commands, common)
    add_models(commands, common)
    demo = commands.add_parser("demo", parents=[common], help="make a clip of a real face and dub it",
                               description="Make a short clip of a public-domain portrait, dub it with a sentence that ships with "
                                           "the package, and write clip, result and a contact sheet.")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="FOLDER", help="where to (default: demo)")
    demo.set_defaults(run=_demo)
    return parser


def _dub_parser(commands: argparse._SubParsersAction, parents: list[argparse.ArgumentParser]) -> None:
    dub = commands.add_parser("dub", parents=parents, help="make a video say a recording", epilog=EXAMPLES,
                              formatter_class=argparse.RawDescriptionHelpFormatter,
                              description="Make a face in VIDEO say AUDIO. The shorter of the two decides the length, unless "
                              "--extend-video says otherwise; a photo lasts as long as AUDIO.")
    dub.add_argument("video", type=Path, metavar="VIDEO", help="any file FFmpeg reads; a photo becomes a talking photo")
    dub.add_argument("audio", type=Path, metavar="AUDIO", help="a sound file, or a video whose sound is used")
    dub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="mp4, mov, mkv, webm or avi")
    dub.add_argument("--extend-video", default="off", choices=("off", "hold"), help="when AUDIO is longer: end with the picture (off, "
                     "default) or hold its last frame")
    dub.add_argument("--fps", type=float, default=25.0, metavar="N", help="frames a second of a talking photo (default 25)")
    dub.add_argument("--force", action="store_true", help="overwrite OUT if it exists")
    mouth = dub.add_argument_group("mouth")
    mouth.add_argument("--generator", default="morph", help="'morph' (built in, default), or a checkpoint file: "
                       "its path, or its name in the model folder (see models)")
    mouth.add_argument("--generator-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="what the generator itself "
                       "offers, for example precision=fp16 device=cuda; a key that it does not know is answered with the list")
    mouth.add_argument("--restore", metavar="FILE", help="sharpen what the generator makes with a face restorer before blending: a file of "
                       "GFPGAN, CodeFormer or RestoreFormer, its path or its name in the model folder (needs: pip install spandrel)")
    mouth.add_argument("--restore-strength", type=float, default=0.5, metavar="X", help="how much of what the restorer changes is taken: "
                       "0 off, 0.5 (default), 1 all of it")
    mouth.add_argument("--face", default="largest", metavar="WHO", help="'largest' (default), 'all', a number from the left (0 is "
                       "the leftmost), or a point such as 640,360")
    mouth.add_argument("--strength", type=float, default=1.0, help="how far the mouth moves: 0 shut, 1 natural (default), 2 much")
    mouth.add_argument("--silence", default="close", choices=("close", "keep", "generate"), help="what the mouth does while nobody "
                       "speaks: close (default), keep the source's, or let the generator decide")
    mouth.add_argument("--offset-ms", type=float, default=0.0, metavar="MS", help="move the mouth later (positive) or earlier")
    mouth.add_argument("--audio-start", type=float, default=0.0, metavar="SEC", help="skip this much of the audio")
    mouth.add_argument("--bypass", default="", metavar="FROM-TO[,...]", help="passages that keep the source's own mouth, in seconds of the "
                       "video, for example 3.5-6,10-12; 10- for all that follows")
    mouth.add_argument("--require-face", action="store_true", help="fail if no face is found, instead of passing the video through")
    blend = dub.add_argument_group("blending and batches")
    blend.add_argument("--feather", type=float, default=0.22, help="softness of the changed region's rim over the distance of the outer "
                       "eye corners, 0.02 to 0.6 (default 0.22)")
    blend.add_argument("--mask-grow", type=float, default=0.0, metavar="X", help="make the region larger (up to 0.3) or smaller (to -0.1)")
    blend.add_argument("--no-colour-match", action="store_true", help="don't tint the new face to the skin around it")
    blend.add_argument("--smoothing", type=float, default=1.0, help="how long face points are smoothed over: 0 not at all, 1 (default), "
                       "up to 3 for shaky detections")
    blend.add_argument("--batch-size", type=int, default=8, metavar="N", help="faces that a network is given at a time (default 8; morph "
                       "takes one)")
    out = dub.add_argument_group("encoding")
    out.add_argument("--codec", default="", help="h264 (default), h265, av1, prores, ffv1, vp9, or any encoder of FFmpeg")
    out.add_argument("--crf", type=float, help="constant quality, lower is better (default 18 for H.264)")
    out.add_argument("--bitrate", help="instead of --crf, for example 8M or 800k")
    out.add_argument("--lossless", action="store_true", help="store the picture bit for bit (H.264, H.265, VP9, FFV1)")
    out.add_argument("--preset", default="", help="the encoder's speed preset, for example veryfast or slow")
    out.add_argument("--pix-fmt", default="", help="pixel format (default: the source's own)")
    out.add_argument("--encoder-option", action="append", default=[], metavar="KEY=VALUE", help="any option of the encoder")
    dub.add_argument("--report", type=Path, metavar="JSON", help="write what was done as JSON")
    dub.set_defaults(run=_dub)


def _dub(chosen: argparse.Namespace, hooks: Hooks) -> None:
    check_file(chosen.video, "video")                                 # before what follows is imported
    check_file(chosen.audio, "audio")
    from .passages import read_passages

    bypass = read_passages(chosen.bypass)
    from .compositing import Blending
    from .dubbing import DubOptions, dub
    from .errors import OutputError
    from .faces import parse_face_rule
    from .generators import parse_options
    from .media import Encoding
    from .models import find_model, find_restorer

    try:
        face = parse_face_rule(chosen.face)
        options = dict(_key_value(text) for text in chosen.encoder_option)
        bitrate = _bits(chosen.bitrate) if chosen.bitrate else None
    except ValueError as error:
        raise LipSyncError(str(error)) from error
    if chosen.output.is_file() and not chosen.force and not _same(chosen.output, chosen.video, chosen.audio):
        raise OutputError(f"{chosen.output} exists already: choose another name, or add --force to overwrite it.")
    encoding = Encoding(chosen.codec, chosen.crf, bitrate, chosen.lossless, chosen.preset, chosen.pix_fmt, options)
    report = dub(chosen.video, chosen.audio, chosen.output, DubOptions(
        generator=find_model(chosen.generator), generator_options=parse_options(chosen.generator_options), face=face,
        restore=find_restorer(chosen.restore) if chosen.restore else None, restore_strength=chosen.restore_strength,
        strength=chosen.strength, silence=chosen.silence, offset_ms=chosen.offset_ms,
        backend=chosen.backend, device=chosen.device, smoothing=chosen.smoothing, batch_size=chosen.batch_size,
        blending=Blending(chosen.feather, chosen.mask_grow, not chosen.no_colour_match), start=chosen.start, duration=chosen.duration,
        audio_start=chosen.audio_start, bypass=bypass, extend_video=chosen.extend_video, fps=chosen.fps,
        require_face=chosen.require_face, encoding=encoding), hooks=hooks)
    if chosen.report:
        _write_text(chosen.report, json.dumps(report.as_dict(), indent=1))
    print(f"{report.output}: {report.seconds:.2f} s, {report.frames} frames, {report.dubbed} dubbed, {report.passed} as they were")


def _analyze(chosen: argparse.Namespace, hooks: Hooks) -> None:
    check_file(chosen.video, "video")
    from .analysis import analyse
    from .contact_sheet import tracks_sheet
    from .faces import create_backend
    from .media import VideoSource

    source = VideoSource(chosen.video, start=chosen.start, duration=chosen.duration)
    analysis = analyse(source, create_backend(chosen.backend, chosen.device), hooks)
    if chosen.output:
        tracks = [{"track": t.track_id, "frames": t.frames.tolist(), "times": t.times.round(6).tolist(),
                   "boxes": t.boxes.round(2).tolist(), "landmarks": t.landmarks.round(2).tolist(),
                   "scores": t.scores.round(3).tolist(), "yaw_pitch_roll": t.pose.round(1).tolist(),
                   "activation": t.activation.round(3).tolist(),
                   "covered": None if t.covered is None else t.covered.round(3).tolist()} for t in analysis.tracks]
        _write_text(chosen.output, json.dumps({"video": str(chosen.video), "frames": analysis.frames, "seconds": analysis.end,
                                               "shots": analysis.shot_starts, "tracks": tracks}))
    if chosen.sheet:
        tracks_sheet(source, analysis, chosen.sheet)
    print(f"{chosen.video}: {analysis.frames} frames, {len(analysis.shot_starts)} shot(s), {len(analysis.tracks)} face(s)")
    for index, track in enumerate(sorted(analysis.tracks, key=lambda t: float(t.boxes[:, [0, 2]].mean()))):
        x0, y0, x1, y1 = track.boxes.mean(0)
        print(f"  --face {index}: track #{track.track_id}, {len(track)} frames from {track.times[0]:.2f} s, about "
              f"{x1 - x0:.0f}x{y1 - y0:.0f} pixels at {(x0 + x1) / 2:.0f},{(y0 + y1) / 2:.0f}, activation "
              f"{track.activation.mean():.2f}")


def _demo(chosen: argparse.Namespace, hooks: Hooks) -> None:
    from .demo import run_demo

    report, files = run_demo(chosen.output, hooks)
    print(f"{report.frames} frames, {report.dubbed} dubbed. Look at:")
    for file, what in zip(files, ("the clip that was made", "the clip, dubbed", "the mouth before (above) and after (below)")):
        print(f"  {file}: {what}")


def _write_text(file: Path, text: str) -> None:
    from .errors import OutputError

    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{file} can't be written ({error.strerror}): choose another place.") from error


def _same(output: Path, *inputs: Path) -> bool:
    return any(path.exists() and output.samefile(path) for path in inputs)


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is no encoder option: write KEY=VALUE, for example tune=film.")
    return key, value


def _bits(text: str) -> int:
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    try:
        value = int(float(text[:-1] if factor > 1 else text) * factor)
        if value > 0:
            return value
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no bitrate: write bits a second, for example 8M or 800k.")
