"""Speech with known phone times from open engines: espeak-ng (many languages and voices), flite and festival (built on recordings).

    apt-get install espeak-ng flite festival festvox-kdlpc16k festvox-italp16k festvox-itapc16k festvox-czech-dita \\
        festvox-czech-machac festvox-czech-ph festvox-suopuhe-lj festvox-suopuhe-mv festvox-ru     (only training needs them)
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from .phones import ARPABET, FESTIVAL

RATE = 16_000


@dataclass(frozen=True)
class Utterance:
    samples: np.ndarray
    """int16 (n,) at 16 kHz."""
    phones: list[tuple[float, float, str]]
    """start and end in seconds, IPA; '' is a pause."""
    source: str
    """Engine and voice."""


class _Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
                ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user_data", ctypes.c_void_p), ("id", _Value)]


class Espeak:
    """libespeak-ng called directly: the only way to its phone times."""

    PHONEME, SYNCHRONOUS, UTF8, RATE, PITCH, RANGE = 7, 1, 1, 1, 3, 4

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        self._lib = ctypes.CDLL(name)
        self.rate = self._lib.espeak_Initialize(self.SYNCHRONOUS, 500, None, 0x0001 | 0x0002)
        if self.rate <= 0:
            raise OSError("libespeak-ng can't be started: install espeak-ng with its data.")
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = kind(self._receive)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._parts: list[np.ndarray] = []
        self._events: list[tuple[float, str]] = []

    def _receive(self, samples, count, events) -> int:
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == self.PHONEME:
                symbol = bytes(events[i].id.string).split(b"\0")[0].decode("utf-8", "ignore")
                self._events.append((events[i].sample / self.rate, symbol))
            i += 1
        return 0

    def say(self, text: str, voice: str, speed: int = 175, pitch: int = 50) -> Utterance | None:
        """None where the voice is unknown or says nothing."""
        self._parts, self._events = [], []
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        self._lib.espeak_SetParameter(self.RATE, speed, 0)
        self._lib.espeak_SetParameter(self.PITCH, pitch, 0)
        data = text.encode("utf-8")
        self._lib.espeak_Synth(data, len(data) + 1, 0, 0, 0, self.UTF8, None, None)
        self._lib.espeak_Synchronize()
        if not self._parts or len(self._events) < 4:
            return None
        samples = np.concatenate(self._parts)
        ends = [start for start, _ in self._events[1:]] + [len(samples) / self.rate]
        phones = [(start, end, symbol) for (start, symbol), end in zip(self._events, ends) if end > start]
        wave = soxr.resample(samples.astype(np.float32), self.rate, RATE)
        return Utterance(np.clip(wave, -32768, 32767).astype(np.int16), phones, f"espeak {voice}")


def flite(text: str, voice: str, speed: float = 1.0) -> Utterance | None:
    """One sentence of flite's `voice`; `speed` above 1 is faster."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "x.wav"
        run = subprocess.run(["flite", "-voice", voice, "--setf", f"duration_stretch={1 / speed:.3f}", "-t", text, "-psdur", "-o",
                              str(wav)], capture_output=True, text=True, check=False)
        pairs = re.findall(r"([a-z]+):([0-9.]+)", run.stdout)
        if run.returncode != 0 or len(pairs) < 4 or not wav.exists():
            return None
        samples, rate = soundfile.read(wav, dtype="float32")
    phones, start = [], 0.0
    for name, end in pairs:
        phones.append((start, float(end), ARPABET.get(name, "")))
        start = float(end)
    wave = soxr.resample(samples, rate, RATE) if rate != RATE else samples
    return Utterance(np.clip(wave * 32767, -32768, 32767).astype(np.int16), phones, f"flite {voice}")


FESTIVAL_VOICES = {"ked_diphone": ("en", "iso-8859-1", "en"), "pc_diphone": ("it", "iso-8859-1", "it"),
                   "lp_diphone": ("it", "iso-8859-1", "it"), "czech_dita": ("cs", "iso-8859-2", "cs"),
                   "czech_machac": ("cs", "iso-8859-2", "cs"), "czech_ph": ("cs", "iso-8859-2", "cs"),
                   "suo_fi_lj_diphone": ("fi", "iso-8859-1", "fi"), "hy_fi_mv_diphone": ("fi", "iso-8859-1", "fi"),
                   "msu_ru_nsh_clunits": ("ru", "utf-8", "ru")}
"""festival's voice -> language of the words, encoding of its text, set of phone symbols."""


def festival(texts: list[str], voice: str, speed: float = 1.0) -> list[Utterance]:
    """Sentences of festival's `voice`, in one run of it; those that it can't say are left out."""
    _, encoding, symbols = FESTIVAL_VOICES[voice]
    table = FESTIVAL[symbols]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{voice})", f"(Parameter.set 'Duration_Stretch {1 / speed:.3f})"]
        for i, text in enumerate(texts):
            text = text.replace('"', "").replace("\\", "")
            lines.append(f'(set! u (utt.synth (Utterance Text "{text}")))')
            lines.append(f'(utt.save.wave u "{folder}/{i}.wav") (utt.save.segs u "{folder}/{i}.seg")')
        script = Path(folder) / "say.scm"
        script.write_bytes("\n".join(lines).encode(encoding, "ignore"))
        subprocess.run(["festival", "-b", str(script)], capture_output=True, check=False, timeout=300)
        for i in range(len(texts)):
            wav, seg = Path(folder) / f"{i}.wav", Path(folder) / f"{i}.seg"
            if not wav.exists() or not seg.exists():
                break                                                  # what stops festival stops the rest of the script
            samples, rate = soundfile.read(wav, dtype="float32")
            rows = [line.split() for line in seg.read_text(encoding="latin-1").splitlines()]
            ends = [(float(row[0]), row[2]) for row in rows if len(row) == 3 and row[0][0].isdigit()]
            starts = [0.0] + [end for end, _ in ends[:-1]]
            phones = [(start, end, table.get(name, table.get(name.rstrip("1:"), name))) for start, (end, name) in zip(starts, ends)]
            if len(phones) < 4:
                continue
            wave = soxr.resample(samples, rate, RATE) if rate != RATE else samples
            found.append(Utterance(np.clip(wave * 32767, -32768, 32767).astype(np.int16), phones, f"festival {voice}"))
    return found
