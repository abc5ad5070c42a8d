"""Learned against drawn on mouths of people that nothing was taught on, both painted by the generator's own `paint`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...generators.morph.interior import paint
from ...generators.morph.interior_net import Colours, light_of, window_of
from .data import Samples, load_samples

KINDS = ("learned", "drawn")


def edges(picture: np.ndarray, inside: np.ndarray) -> float:
    """Mean step between neighbours inside the lips of an RGB picture (h, w, 3)."""
    across = np.abs(np.diff(picture, axis=1)).mean(-1)[inside[:, 1:] & inside[:, :-1]]
    down = np.abs(np.diff(picture, axis=0)).mean(-1)[inside[1:] & inside[:-1]]
    return float(across.sum() + down.sum()) / max(len(across) + len(down), 1)


def measure(samples: Samples, row: int) -> dict[str, float]:
    """Of one mouth: mean absolute error of each kind, and its edges over the real ones; pixels over the skin's brightness."""
    opening, seam, colours = samples.openings[row], float(samples.seams[row]), Colours(*samples.colours[row])
    x, y = window_of(opening, seam).points()
    real = samples.targets[row].transpose(1, 2, 0).astype(np.float32)
    inside = samples.planes[row, 2] > 0.5
    result = {"gap": opening.gap}
    for kind in KINDS:
        picture = paint(*(one.astype(np.float32) for one in np.meshgrid(x, y)), opening, [], colours, seam, learn=kind == "learned")
        result[f"{kind}_l1"] = float(np.abs(picture - real)[inside].mean()) / light_of(colours.skin)
        result[f"{kind}_edges"] = edges(picture, inside) / max(edges(real, inside), 1e-3)
    return result


def evaluate(data: Path, least_pixels: int = 60) -> list[dict]:
    """One row a held-out person, the mean over their pictures; people whose names hold 'testonly' and such among them."""
    samples = load_samples(data, taught=False)
    rows = []
    half = len(samples.people) // 2                                    # the mirrored ones say nothing new
    for person in sorted(set(samples.people[:half])):
        found = [measure(samples, i) for i in range(half)
                 if samples.people[i] == person and (samples.planes[i, 2] > 0.5).sum() >= least_pixels]
        if found:
            rows.append({"person": samples.who[person], "pictures": len(found),
                         **{key: float(np.mean([f[key] for f in found])) for key in found[0]}})
    return rows


def table(rows: list[dict]) -> str:
    keys = [f"{kind}_{what}" for what in ("l1", "edges") for kind in KINDS]
    mean = {"person": f"mean of {len(rows)} people", "pictures": sum(r["pictures"] for r in rows),
            **{key: float(np.mean([r[key] for r in rows])) for key in ["gap", *keys]}} if rows else None
    lines = [f"{'person':54} {'n':>4} {'gap':>6} " + " ".join(f"{k:>14}" for k in keys)]
    for row in [*rows, *([mean] if mean else [])]:
        lines.append(f"{row['person'][-54:]:54} {row['pictures']:4d} {row['gap']:6.3f} " + " ".join(f"{row[k]:14.3f}" for k in keys))
    return "\n".join(lines)
