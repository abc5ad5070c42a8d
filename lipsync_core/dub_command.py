"""`python -m lipsync_core dub`."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LipSyncError
from .files import check_file, check_name, write_text
from .types import Hooks

if TYPE_CHECKING:
    from .faces import FaceRule
    from .options import DubOptions

EXAMPLES = """examples:
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4
  python -m lipsync_core dub dialogue.mp4 --voice 0=anna.wav --voice 1=ben.wav -o dubbed.mp4
  python -m lipsync_core dub dialogue.mp4 translated.wav --speakers auto -o dubbed.mp4
  python -m lipsync_core dub photo.jpg speech.wav -o talking.mp4
  python -m lipsync_core dub clip.mp4 long_speech.wav --extend-video bounce -o dubbed.mp4
  python -m lipsync_core dub street.mp4 speech.wav --background source --duck --keep-original-sound -o dubbed.mp4
  python -m lipsync_core dub interview.mov french.m4a -o dubbed.mov --codec prores --silence keep
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4 --generator wav2lip_gan.pth --generator-options offset_ms=40
  python -m lipsync_core dub clip.mp4 speech.wav -o dubbed.mp4 --generator wav2lip_gan.pth --restore GFPGANv1.4.pth
  python -m lipsync_core analyze clip.mp4 -o tracks.json --sheet tracks.png
  python -m lipsync_core models
"""
_OFFSET = re.compile(r"(.+)@(-?\d+(?:\.\d+)?)")


def add_parser(commands: argparse._SubParsersAction, parents: list[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The subcommand `dub`; `parents` bring what it shares with others."""
    dub = commands.add_parser("dub", parents=parents, help="make a video say a recording", epilog=EXAMPLES,
                              formatter_class=argparse.RawDescriptionHelpFormatter,
                              description="Make a face in VIDEO say AUDIO, or several people each their own --voice. The shorter of "
                              "picture and sound decides the length, unless --extend-video or --extend-audio says otherwise; a photo "
                              "lasts as long as AUDIO.")
    dub.add_argument("video", type=Path, metavar="VIDEO", help="any file FFmpeg reads; a photo becomes a talking photo")
    dub.add_argument("audio", type=Path, metavar="AUDIO", nargs="?", help="a sound file, or a video whose sound is used; left out with "
                     "--voice")
    dub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="mp4, mov, mkv, webm or avi")
    dub.add_argument("--force", action="store_true", help="overwrite OUT if it exists")
    who = dub.add_argument_group("who says what")
    who.add_argument("--face", default="largest", metavar="WHO", help="who says AUDIO: 'largest' (default), 'all', a number from the left "
                     "(0 is the leftmost), a point such as 640,360, or tracks such as #2 or #2+#5 (analyze shows who is who)")
    who.add_argument("--voice", action="append", default=[], metavar="WHO=FILE[@SEC]", help="several people, each with their own "
                     "recording, in place of AUDIO; repeated. WHO as --face, the same person in later shots too, or S1 for a speaker id, "
                     "or a name that --speakers gives as a voice; @SEC is when it begins")
    who.add_argument("--speakers", metavar="FILE|auto", help="speaker data (JSON, as NVIDIA's clients write them): who is where and "
                     "speaks when; auto: AUDIO follows the source's own turns, told from its lips and sound")
    who.add_argument("--bypass", default="", metavar="FROM-TO[,...]", help="passages that keep the source's own mouth, in seconds of the "
                     "video, for example 3.5-6,10-12; 10- for all that follows")
    who.add_argument("--require-face", action="store_true", help="fail if no face is found, instead of passing the video through")
    length = dub.add_argument_group("length")
    length.add_argument("--extend-video", default="off", choices=("off", "hold", "forward", "bounce", "reverse"), help="when AUDIO is "
                        "longer: end with the picture (off, default), hold its last frame, repeat its last seconds (forward), or play them "
                        "backwards and forwards (bounce, also called reverse)")
    length.add_argument("--extend-seconds", default="5", metavar="SEC|all", help="how much of the end forward and bounce repeat "
                        "(default 5)")
    length.add_argument("--extend-audio", default="off", choices=("off", "silence"), help="when AUDIO is shorter: end with it (off, "
                        "default), or keep the whole picture with the mouth at rest (silence)")
    length.add_argument("--deinterlace", action="store_true", help="make whole frames of an interlaced video (television, old camcorders) "
                        "first")
    length.add_argument("--audio-start", type=float, default=0.0, metavar="SEC", help="skip this much of AUDIO")
    length.add_argument("--fps", type=float, default=25.0, metavar="N", help="frames a second of a talking photo (default 25)")
    mouth = dub.add_argument_group("mouth")
    mouth.add_argument("--generator", default="morph", help="'morph' (built in, default), 'lipsyncnet' (built in: morph and "
                       "a network that draws teeth and lips over it), or a checkpoint file: its path, or its name in the model folder "
                       "(see models)")
    mouth.add_argument("--generator-options", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="what the generator itself "
                       "offers, for example precision=fp16 device=cuda; a key that it does not know is answered with the list")
    mouth.add_argument("--restore", metavar="FILE", help="sharpen what the generator makes with a face restorer before blending: a file of "
                       "GFPGAN, CodeFormer or RestoreFormer, its path or its name in the model folder (needs: pip install spandrel)")
    mouth.add_argument("--restore-strength", type=float, default=0.5, metavar="X", help="how much of what the restorer changes is taken: "
                       "0 off, 0.5 (default), 1 all of it")
    mouth.add_argument("--strength", type=float, default=1.0, help="how far the mouth moves: 0 shut, 1 natural (default), 2 much")
    mouth.add_argument("--silence", default="close", choices=("close", "keep", "generate"), help="what the mouth does while nobody "
                       "speaks: close (default), keep the source's, or let the generator decide")
    mouth.add_argument("--offset-ms", type=float, default=0.0, metavar="MS", help="move the mouth later (positive) or earlier")
    sound = dub.add_argument_group("sound beside the voice")
    sound.add_argument("--sound", type=Path, metavar="FILE", help="the sound of the result, in place of what drives the mouths: a "
                       "finished mix")
    sound.add_argument("--background", metavar="FILE|source", help="mixed under the voices, begun again where it is too short; source: the "
                       "video's own sound")
    sound.add_argument("--background-volume", type=float, default=0.5, metavar="X", help="0 to 1 (default 0.5)")
    sound.add_argument("--background-once", action="store_true", help="don't begin it again")
    sound.add_argument("--duck", action="store_true", help="lower the background while somebody speaks")
    sound.add_argument("--keep-original-sound", action="store_true", help="add the video's own sound as a second, labelled track")
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
    out.add_argument("--audio-codec", default="", choices=("", "aac", "opus", "mp3", "flac", "alac", "pcm"), help="encode the sound so "
                     "(default: copy it where the container allows)")
    out.add_argument("--pix-fmt", default="", help="pixel format (default: the source's own)")
    out.add_argument("--encoder-option", action="append", default=[], metavar="KEY=VALUE", help="any option of the encoder")
    marks = dub.add_argument_group("marks (see provenance)")
    marks.add_argument("--no-mark", action="store_true", help="don't say in the file's metadata that a mouth was altered")
    marks.add_argument("--sign", type=Path, nargs=2, metavar=("CERT", "KEY"), help="sign the result with C2PA content credentials: a "
                       "certificate chain and its private key, PEM (mp4, mov, avi; needs: pip install -r requirements-sign.txt)")
    dub.add_argument("--overlay", action="store_true", help="draw into the picture what was found and done: frame number, ON or OFF, "
                     "faces, where the effect acts, mouth-shape values")
    dub.add_argument("--report", type=Path, metavar="JSON", help="write what was done as JSON")
    dub.set_defaults(run=run)
    return dub


def run(chosen: argparse.Namespace, hooks: Hooks) -> None:
    """Dub, and say what was done."""
    options = options_of(chosen)
    from .dubbing import dub

    report = dub(chosen.video, chosen.audio, chosen.output, options, hooks=hooks)
    if chosen.report:
        write_text(chosen.report, json.dumps(report.as_dict(), indent=1))
    for begin, end, person in report.turns:
        print(f"  {begin:7.2f} to {end:7.2f} s: person {person}")
    print(f"{report.output}: {report.seconds:.2f} s, {report.frames} frames, {report.dubbed} dubbed, {report.passed} as they were")


def options_of(chosen: argparse.Namespace) -> DubOptions:
    """What the words mean. Raises `LipSyncError` for a file that is not there, a value that is none, or an output that exists."""
    check_file(chosen.video, "video")                                 # before what follows is imported
    given = [(chosen.audio, "audio"), (chosen.sound, "sound")]
    if chosen.background not in (None, "source"):
        given.append((Path(chosen.background), "background"))
    if chosen.speakers not in (None, "auto"):
        given.append((Path(chosen.speakers), "speaker data"))
    voices = [_voice(text) for text in chosen.voice]
    for file, what in [*given, *((file, "voice") for _, file, _ in voices)]:
        if file is not None:
            check_file(file, what)
    from .passages import read_passages

    bypass = read_passages(chosen.bypass)
    from .compositing import Blending
    from .errors import OutputError
    from .faces import parse_face_rule
    from .generators import parse_options
    from .media import Encoding
    from .models import find_model, find_restorer
    from .options import DubOptions, Soundtrack, Voice
    from .provenance.credentials import Credentials

    try:
        face = parse_face_rule(chosen.face)
        options = dict(_key_value(text) for text in chosen.encoder_option)
        bitrate = _bits(chosen.bitrate) if chosen.bitrate else None
        tail = _seconds(chosen.extend_seconds)
    except ValueError as error:
        raise LipSyncError(str(error)) from error
    inputs = [file for file in (chosen.video, chosen.audio) if file is not None]
    check_name(chosen.output)
    if chosen.output.is_file() and not chosen.force and not _same(chosen.output, *inputs):
        raise OutputError(f"{chosen.output} exists already: choose another name, or add --force to overwrite it.")
    encoding = Encoding(chosen.codec, chosen.crf, bitrate, chosen.lossless, chosen.preset, chosen.pix_fmt, options,
                        chosen.audio_codec)
    soundtrack = Soundtrack(chosen.sound, chosen.background, chosen.background_volume, not chosen.background_once, chosen.duck,
                            chosen.keep_original_sound)
    return DubOptions(
        generator=find_model(chosen.generator), generator_options=parse_options(chosen.generator_options), face=face,
        restore=find_restorer(chosen.restore) if chosen.restore else None, restore_strength=chosen.restore_strength,
        voices=[Voice(_who(who), file, offset) for who, file, offset in voices], speakers=chosen.speakers,
        strength=chosen.strength, silence=chosen.silence, offset_ms=chosen.offset_ms,
        backend=chosen.backend, device=chosen.device, smoothing=chosen.smoothing, batch_size=chosen.batch_size,
        blending=Blending(chosen.feather, chosen.mask_grow, not chosen.no_colour_match), start=chosen.start, duration=chosen.duration,
        audio_start=chosen.audio_start, bypass=bypass, extend_video=chosen.extend_video, extend_seconds=tail,
        extend_audio=chosen.extend_audio, fps=chosen.fps, deinterlace=chosen.deinterlace,
        require_face=chosen.require_face, overlay=chosen.overlay,
        soundtrack=soundtrack, encoding=encoding, mark=not chosen.no_mark, sign=Credentials(*chosen.sign) if chosen.sign else None)


def _voice(text: str) -> tuple[str, Path, float]:
    """`WHO=FILE` or `WHO=FILE@SEC` -> who, file, seconds. A name that ends as an offset does is taken for a name where such a file is."""
    who, equals, name = text.partition("=")
    if not equals or not who.strip() or not name:
        raise LipSyncError(f"{text!r} is no voice: write WHO=FILE, for example 0=anna.wav, or 0=anna.wav@2.5 where it begins later.")
    found = _OFFSET.fullmatch(name)
    if found and not Path(name).exists():
        return who.strip(), Path(found[1]), float(found[2])
    return who.strip(), Path(name), 0.0


def _who(text: str) -> FaceRule:
    from .faces import parse_face_rule

    try:
        return parse_face_rule(text)
    except ValueError:
        return text                                                   # an id or a name, which speaker data explain


def _seconds(text: str) -> float:
    if text.strip().lower() == "all":
        return math.inf
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no length: write seconds, for example 5, or all.") from error


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
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text!r} is no bitrate: write bits a second, for example 8M or 800k.")
