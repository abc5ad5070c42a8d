"""How many seconds of speech the articulation model works through in one, on one core, whole and streamed, and how alike both hear it.

    python benchmarks/articulation.py [--seconds 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lipsync_core.audio import load_speech  # noqa: E402
from lipsync_core.demo import SPEECH  # noqa: E402
from lipsync_core.generators.morph.articulation import NetArticulation  # noqa: E402
from lipsync_core.generators.morph.ear import COLUMNS, Ear, EarState  # noqa: E402
from lipsync_core.hearing.listening import LIVE  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    speech = load_speech(SPEECH).samples
    speech = np.resize(speech, int(chosen.seconds * 16_000))
    model = NetArticulation()
    model(speech[:16_000], np.zeros(1))                                # the first call loads and warms up
    begin = time.perf_counter()
    model(speech, np.arange(0, chosen.seconds, 0.01))
    whole = chosen.seconds / (time.perf_counter() - begin)
    parts, ear, state, begin = [], Ear(windows=LIVE), EarState(), time.perf_counter()
    for first in range(0, len(speech), 3_200):
        found, state = ear.feed(speech[first:first + 3_200], state)
        parts.append(found)
    streamed = chosen.seconds / (time.perf_counter() - begin)
    live, recorded = np.concatenate(parts), model.ear.feed(speech, EarState(), last=True)[0]
    column = COLUMNS.index("read_opening")
    alike = float(np.corrcoef(live[:, column], recorded[:len(live), column])[0, 1])
    sys.stdout.write(f"{chosen.seconds:g} s of speech, one core: {whole:.0f} times real time whole, {streamed:.0f} times in pieces of "
                     f"200 ms; look-ahead {1000 * LIVE.look_ahead:.0f} ms; opening of the stream and of the recording, r {alike:.3f}\n")
    if chosen.json:
        found = {"whole": whole, "streamed": streamed, "look_ahead_s": LIVE.look_ahead, "alike": alike}
        chosen.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
