"""A corpus of synthetic speech: random words of many languages, read by many voices.

    python -m lipsync_core.training.articulation corpus FOLDER --hours 3

Needs espeak-ng and flite on the system and `wordfreq` (requirements-label.txt) for the words.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .synthesis import FESTIVAL_VOICES, Espeak, Utterance, festival, flite

log = logging.getLogger(__name__)

LANGUAGES = {"en-us": "en", "en-gb-x-rp": "en", "en-gb-scotland": "en", "de": "de", "fr-fr": "fr", "es": "es", "es-419": "es",
             "it": "it", "pt": "pt", "pt-br": "pt", "nl": "nl", "pl": "pl", "ru": "ru", "cs": "cs", "sv": "sv", "tr": "tr", "hu": "hu",
             "fi": "fi", "el": "el", "ro": "ro", "hi": "hi", "id": "id", "cmn": "zh", "ar": "ar"}
"""espeak-ng's voice -> wordfreq's language."""
HELD_OUT_LANGUAGES = {"da": "da", "bg": "bg", "vi": "vi", "ko": "ko"}
"""For the test only: no training sentence is in them."""
VARIANTS = ("", *(f"f{i}" for i in range(1, 6)), *(f"m{i}" for i in range(1, 9)), *"""Alex Alicia Andrea Andy Annie Denis Gene Jacky
            Lee Marco Mario Michael Mike adam anika antonio aunty belinda benjamin boris caleb david ed edward grandma grandpa gustave
            john linda max michel miguel pablo paul pedro quincy rob robert sandro shelby steph travis victor klatt klatt4""".split())
HELD_OUT_VARIANTS = ("norbert", "marcelo", "zac", "iven", "Henrique", "Storm")
FLITE = ("kal16", "awb", "rms", "slt")


def sentences(language: str, rng: np.random.Generator, vocabulary: int = 4000) -> Iterator[str]:
    """Endless random sentences of 4 to 14 words, frequent words oftener."""
    from wordfreq import top_n_list

    words = [w for w in top_n_list(language, vocabulary) if not any(c.isdigit() for c in w)]
    while True:
        count = int(rng.integers(4, 15))
        chosen = [words[int(len(words) * rng.random() ** 2.2)] for _ in range(count)]
        if rng.random() < 0.5 and count > 6:
            chosen[count // 2] += ","
        yield " ".join(chosen) + rng.choice([".", "?", "!", "."])


def generate(hours: float, seed: int, *, held_out: bool = False, languages: Sequence[str] | None = None) -> Iterator[Utterance]:
    """Utterances of `hours` in all: a third each of espeak-ng's languages and voices, flite's and festival's; held out: espeak-ng's
    languages and voices that the training lacks; or only some `languages`, by espeak-ng's names."""
    rng = np.random.default_rng(seed)
    espeak = Espeak()
    only = {voice: LANGUAGES.get(voice, voice) for voice in languages or ()}
    chosen = only or (HELD_OUT_LANGUAGES if held_out else LANGUAGES)
    variants = HELD_OUT_VARIANTS if held_out else VARIANTS
    readers = {voice: sentences(words, rng) for voice, words in chosen.items()}
    english = sentences("en", rng, 8000)
    recorded = {voice: sentences(words, rng) for voice, (words, *_) in FESTIVAL_VOICES.items()}
    engines = ["espeak"] + [name for name in ("flite", "festival") if shutil.which(name) and not (held_out or only)]
    spoken = dict.fromkeys(engines, 0.0)
    while sum(spoken.values()) < hours * 3600:
        engine = min(spoken, key=spoken.__getitem__)
        if engine == "flite":
            items = [flite(next(english), str(rng.choice(FLITE)), float(rng.uniform(0.8, 1.35)))]
        elif engine == "festival":
            voice = str(rng.choice(list(recorded)))
            items = festival([next(recorded[voice]) for _ in range(12)], voice, float(rng.uniform(0.85, 1.3)))
        else:
            voice, variant = str(rng.choice(list(chosen))), str(rng.choice(variants))
            items = [espeak.say(next(readers[voice]), f"{voice}+{variant}" if variant else voice, int(rng.integers(120, 260)),
                                int(rng.integers(25, 75)))]
        good = [item for item in items if item is not None and 1.0 < len(item.samples) / 16_000 < 20]
        spoken[engine] += sum(len(item.samples) / 16_000 for item in good) or 0.5       # an engine that fails must not stop the rest
        yield from good


def save(items: Iterator[Utterance], file: Path) -> int:
    """All utterances as one npz; returns how many."""
    samples, bounds, phones, owners, symbols, sources = [], [0], [], [], [], []
    for number, item in enumerate(items):
        samples.append(item.samples)
        bounds.append(bounds[-1] + len(item.samples))
        phones += [(start, end) for start, end, _ in item.phones]
        symbols += [symbol for *_, symbol in item.phones]
        owners += [number] * len(item.phones)
        sources.append(item.source)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, samples=np.concatenate(samples), bounds=np.array(bounds), phones=np.array(phones, np.float32), owners=np.array(owners),
             symbols=np.array(symbols), sources=np.array(sources))
    return len(sources)


def load(file: Path) -> list[Utterance]:
    with np.load(file) as data:
        samples, bounds, phones, owners = data["samples"], data["bounds"], data["phones"], data["owners"]
        symbols, sources = data["symbols"], data["sources"]
    first = np.searchsorted(owners, np.arange(len(sources) + 1))
    return [Utterance(samples[bounds[i]:bounds[i + 1]],
                      [(float(a), float(b), str(s)) for (a, b), s in zip(phones[first[i]:first[i + 1]], symbols[first[i]:first[i + 1]])],
                      str(sources[i])) for i in range(len(sources))]
