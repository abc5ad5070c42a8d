"""Phones -> what the lips do: a table of targets for IPA symbols, and the classes that the network also learns to tell.

Targets follow phonetics (height, backness and rounding of vowels; place of consonants). How strongly a phone insists on its
target, and over how long, are the dominance functions of Cohen and Massaro (1993): a bilabial insists on shut lips and leaves
their width to its neighbours, a /k/ hardly insists on anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...generators.morph.articulation_net import CLASSES

OPENING, WIDTH, JAW, CLOSURE, TUCK, ROUND = range(6)


@dataclass(frozen=True)
class Phone:
    """Targets of the channels and how much each is insisted on, 0..1."""

    kind: int
    target: np.ndarray
    weight: np.ndarray


def _phone(kind: str, opening: float, width: float, jaw: float, *, closure: float = 0, tuck: float = 0, rounding: float = 0,
           weight: tuple[float, float, float] = (1, 1, 1)) -> Phone:
    strong = 2.5 if closure or tuck else 1.0
    return Phone(CLASSES.index(kind), np.array([opening, width, jaw, closure, tuck, rounding], np.float32),
                 np.array([*weight, strong, strong, max(weight[1], 0.3)], np.float32))


def _vowel(opening: float, width: float, jaw: float, rounding: float = 0.0) -> Phone:
    if rounding:
        kind = "close_back" if opening < 0.3 else "mid_back"
    else:
        kind = "open" if opening > 0.62 else "close_front" if opening < 0.34 and width > 0.3 else "mid"
    return _phone(kind, opening, width, jaw, rounding=rounding)


_WEAK = (0.25, 0.12, 0.3)
SILENCE = _phone("silence", 0.0, 0.0, 0.0, weight=(0.8, 0.3, 0.8))
TABLE: dict[str, Phone] = {
    **{s: _phone("bilabial", 0.0, 0.0, 0.18, closure=1.0, weight=(5, 0.05, 0.35)) for s in "pbmɓʙ"},
    **{s: _phone("bilabial", 0.05, -0.3, 0.15, closure=0.4, rounding=0.5, weight=(2, 0.5, 0.3)) for s in "ɸβ"},
    **{s: _phone("labiodental", 0.06, 0.1, 0.12, tuck=1.0, weight=(3, 0.2, 0.4)) for s in "fvɱʋ"},
    **{s: _phone("dental", 0.22, 0.15, 0.2, weight=(0.7, 0.2, 0.5)) for s in "θð"},
    **{s: _phone("alveolar", 0.2, 0.15, 0.15, weight=_WEAK) for s in "tdnɾɗɖʈɳ"},
    **{s: _phone("alveolar", 0.28, 0.1, 0.25, weight=(0.35, 0.12, 0.4)) for s in "lɫɭʎ"},
    **{s: _phone("sibilant", 0.16, 0.3, 0.04, weight=(0.9, 0.35, 1.4)) for s in "szɬ"},
    **{s: _phone("postalveolar", 0.22, -0.45, 0.06, rounding=0.8, weight=(0.9, 0.9, 1.3)) for s in "ʃʒ"},
    **{s: _phone("postalveolar", 0.18, 0.25, 0.08, weight=(0.7, 0.3, 1.0)) for s in "ɕʑçʂʐʝ"},
    **{s: _phone("velar", 0.3, 0.0, 0.3, weight=_WEAK) for s in "kɡgŋxɣqχʁħʕcɟɲɴ"},
    **{s: _phone("velar", 0.35, 0.0, 0.35, weight=(0.1, 0.05, 0.1)) for s in "hɦʔ"},
    **{s: _phone("rhotic", 0.24, -0.25, 0.22, rounding=0.35, weight=(0.5, 0.4, 0.5)) for s in "ɹɻ"},
    "r": _phone("rhotic", 0.26, 0.05, 0.25, weight=_WEAK),
    **{s: _phone("w", 0.12, -0.95, 0.18, rounding=1.0, weight=(1.5, 1.5, 0.8)) for s in "wʍɥ"},
    "j": _phone("close_front", 0.2, 0.55, 0.15, weight=(0.6, 0.6, 0.5)),
    **{s: _vowel(0.24, 0.75, 0.15) for s in "iɪ"}, "ɨ": _vowel(0.24, 0.35, 0.18), "ᵻ": _vowel(0.26, 0.35, 0.2),
    "y": _vowel(0.16, -0.6, 0.15, 0.8), "ʏ": _vowel(0.2, -0.5, 0.2, 0.7),
    "u": _vowel(0.14, -0.85, 0.15, 1.0), "ʊ": _vowel(0.22, -0.6, 0.2, 0.7), "ɯ": _vowel(0.22, 0.2, 0.18),
    "ʉ": _vowel(0.16, -0.6, 0.15, 0.8),
    "e": _vowel(0.42, 0.6, 0.35), "ɛ": _vowel(0.58, 0.5, 0.5), "æ": _vowel(0.75, 0.5, 0.7), "ə": _vowel(0.36, 0.05, 0.32),
    "ɐ": _vowel(0.6, 0.15, 0.55), "ɚ": _vowel(0.34, -0.15, 0.3, 0.3), "ɝ": _vowel(0.36, -0.2, 0.32, 0.35), "ɜ": _vowel(0.45, 0.05, 0.42),
    "ø": _vowel(0.3, -0.5, 0.3, 0.7), "œ": _vowel(0.42, -0.35, 0.42, 0.5),
    "o": _vowel(0.34, -0.7, 0.38, 0.85), "ɔ": _vowel(0.55, -0.5, 0.58, 0.6), "ɒ": _vowel(0.66, -0.3, 0.68, 0.4),
    "ɤ": _vowel(0.42, 0.1, 0.4), "ʌ": _vowel(0.58, 0.1, 0.52), "ɑ": _vowel(0.82, 0.0, 0.85), "a": _vowel(0.88, 0.2, 0.88),
}
"""Targets by the first IPA symbol of a phone."""

ARPABET = {"aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "ay": "aɪ", "b": "b", "ch": "tʃ", "d": "d", "dh": "ð",
           "eh": "ɛ", "er": "ɝ", "ey": "eɪ", "f": "f", "g": "ɡ", "hh": "h", "ih": "ɪ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l",
           "m": "m", "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ",
           "uh": "ʊ", "uw": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ", "pau": "", "sil": "", "ssil": ""}
"""The symbols of flite and festival (CMU) in IPA."""

_PAUSES = {"#": "", "pau": "", "_": "ʔ", "SIL": ""}
_SOFT_RUSSIAN = {2 * c: c if c != "g" else "ɡ" for c in "bvgdzklmnprstfh"}
FESTIVAL = {
    "en": ARPABET,
    "it": {**_PAUSES, "E": "ɛ", "O": "ɔ", "tS": "tʃ", "dZ": "dʒ", "S": "ʃ", "L": "ʎ", "J": "ɲ", "g": "ɡ"},
    "cs": {**_PAUSES, "s~": "ʃ", "z~": "ʒ", "c": "ts", "c~": "tʃ", "dz~": "dʒ", "ch": "x", "h": "ɦ", "r~": "ʒ", "r~*": "ʃ", "n~": "ɲ",
           "t~": "c", "d~": "ɟ", "g": "ɡ", "n*": "ŋ"},
    "fi": {**_PAUSES, "@": "æ", "7": "ø", "N": "ŋ", "a": "ɑ", "v": "ʋ", "g": "ɡ"},
    "ru": {**_PAUSES, **_SOFT_RUSSIAN, "h": "x", "hh": "x", "aa": "a", "ay": "ə", "ae": "æ", "ee": "e", "ii": "i", "y": "ɨ", "yy": "ɨ",
           "oo": "o", "uu": "u", "ur": "u", "ch": "tɕ", "sch": "ɕ", "sh": "ʃ", "zh": "ʒ", "c": "ts", "g": "ɡ"},
}
"""The symbols of festival's voices in IPA, by language; what is missing stands for itself, marks of stress and length left out."""


def segments(symbol: str) -> list[Phone]:
    """The parts of one phone: two for diphthongs and affricates, `SILENCE` for a pause, none for marks without a sound."""
    if not symbol:
        return [SILENCE]
    parts = [TABLE[c] for c in symbol if c in TABLE]
    # A long or doubled symbol is one part.
    kept = [p for i, p in enumerate(parts) if i == 0 or p is not parts[i - 1]]
    return kept[:2]
