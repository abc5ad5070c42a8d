"""The report as one page: no script, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from .measures import MEASURES, Measure
from .plots import rows_of, timeline
from .report import SYNC_KEYS, SYNC_TITLE, Evaluation, short_names, sync_notes, without_syncnet
from .syncnet_file import how_to_get_it

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfa; --ink: #1d2127; --soft: #68707c; --rule: #dfe2e6; --card: #fff; --dub: #d9480f;
  --source: #7a869a; --truth: #1971c2; --level: #e7ebf0; --good: #1e7a3c; --bad: #b3261e; --badfill: #fdecea; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e6e8eb; --soft: #98a1ad; --rule: #2f353d; --card: #1c2026;
  --dub: #ff922b; --source: #8d99ab; --truth: #4dabf7; --level: #272d35; --good: #69cf8b; --bad: #ff8a80; --badfill: #3a2124;
  --warn: #3a3217; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 1120px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: .95rem; margin: 1.2rem 0 .3rem; overflow-wrap: anywhere; }
p, dl { margin: .3rem 0; }
.soft, figcaption, .tick { color: var(--soft); }
dl.files { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; }
dl.files dt { color: var(--soft); } dl.files dd { margin: 0; overflow-wrap: anywhere; }
.note { background: var(--warn); padding: .45rem .7rem; border-radius: 6px; margin: .7rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; }
th, td { padding: .34rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; min-width: 17rem; font-weight: 400; }
thead th { font-weight: 600; overflow-wrap: anywhere; min-width: 6rem; } tr:last-child td { border-bottom: 0; }
td.good { color: var(--good); } td.bad { color: var(--bad); background: var(--badfill); font-weight: 600; }
td.wanted, .unit { color: var(--soft); white-space: nowrap; }
details summary { cursor: pointer; } details p { color: var(--soft); font-size: .88rem; max-width: 46rem; text-align: left; }
svg { display: block; width: 100%; height: auto; background: var(--card); border: 1px solid var(--rule); margin: .35rem 0; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.line.dub { stroke: var(--dub); stroke-width: 2.3; } .line.source { stroke: var(--source); stroke-dasharray: 5 3; }
.line.truth { stroke: var(--truth); }
.level { fill: var(--level); } .grid { stroke: var(--rule); stroke-width: .7; fill: none; }
.threshold { stroke: var(--soft); stroke-width: .9; stroke-dasharray: 2 3; fill: none; }
.tick { font-size: 11px; fill: var(--soft); }
.legend span { display: inline-block; margin-right: 1.2rem; } .legend i { display: inline-block; width: 1.6rem; height: 0;
  border-top: 3px solid; vertical-align: middle; margin-right: .4rem; }
.strip { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 6px; overflow: hidden; width: 162px; }
figure div { position: relative; } figure img { display: block; width: 160px; height: 160px; }
figure div span { position: absolute; left: 4px; bottom: 4px; background: #000a; color: #fff; font-size: 11px; padding: 0 .35rem;
  border-radius: 3px; }
figcaption { font-size: .8rem; padding: .35rem .5rem; line-height: 1.35; }
"""


def page(evaluations: Sequence[Evaluation]) -> str:
    """The whole HTML text for one or several dubs of one source."""
    names = short_names(evaluations)
    first = evaluations[0]
    title = f"Evaluation of {names[0]}" if len(names) == 1 else f"Evaluation of {len(names)} clips"
    files = [("Source", first.source), ("Truth", first.truth), ("Sound", first.audio if len({e.audio for e in evaluations}) == 1 else None),
             ("Landmarks", first.landmarks), *[(f"Clip {i + 1}" if len(names) > 1 else "Clip", e.dubbed)
                                               for i, e in enumerate(evaluations)]]
    parts = [f"<h1>{escape(title)}</h1>", '<dl class="files">']
    parts += [f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in files if value]
    parts.append("</dl>")
    if first.landmarks_note:
        parts.append(f'<p class="note">{escape(first.landmarks_note)}</p>')
    parts += ["<h2>Measures</h2>", '<div class="scroll">', measures_table(evaluations, names), "</div>",
              '<p class="soft">✓ and ✗: within and outside the good range. Open a line for what it says and what fools it.</p>']
    if without_syncnet(evaluations):
        parts.append(f'<p class="soft">{escape(how_to_get_it())}</p>')
    for name, evaluation in zip(names, evaluations):
        parts += [f'<p class="note">{escape(name)}: {escape(note)}</p>' for note in evaluation.notes]
    parts += ["<h2>Opening of the mouth over time</h2>", _legend(evaluations)]
    for name, evaluation in zip(names, evaluations):
        parts.append(f"<h3>{escape(name)}</h3>" if len(names) > 1 else "")
        parts += _plots(evaluation)
    parts.append("<h2>Moments to look at</h2>")
    for name, evaluation in zip(names, evaluations):
        parts += [f"<h3>{escape(name)}</h3>" if len(names) > 1 else "", _strip(evaluation)]
    parts += ["<h2>Picture and sound</h2>", '<div class="scroll">', _facts(evaluations, names), "</div>"]
    head = (f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
            f"<style>{STYLE}</style>")
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _cell(measure: Measure, value: float | None, count: int | None) -> str:
    good = measure.judge(value)
    rests = f' <span class="unit">n {count}</span>' if count is not None and value is not None else ""
    if good is None:
        return f"<td>{measure.show(value)}{rests}</td>"
    return f'<td class="{"good" if good else "bad"}">{measure.show(value)} {"✓" if good else "✗"}{rests}</td>'


def measures_table(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """A line a measure, a column a clip; lines that nobody has are left out."""
    rows = ["<table><thead><tr><th></th>", *(f"<th>{escape(n)}</th>" for n in names), "<th>good</th></tr></thead><tbody>"]
    for measure in MEASURES:
        values = [e.measures.get(measure.key) for e in evaluations]
        if measure.key == SYNC_KEYS[0] and (missing := sync_notes(evaluations)):
            texts = "".join(f'<td class="unit">{escape(note)}</td>' for note in missing)
            rows.append(f'<tr><td>{escape(SYNC_TITLE)}</td>{texts}<td class="wanted"></td></tr>')
        if all(value is None for value in values):
            continue
        cells = "".join(_cell(measure, v, e.counts.get(measure.count)) for v, e in zip(values, evaluations))
        explanation = "".join(f"<p>{escape(line)}</p>" for line in measure.explanation().splitlines())
        rows.append(f'<tr><td><details><summary>{escape(measure.title)} <span class="unit">{escape(measure.unit)}</span></summary>'
                    f"{explanation}</details></td>{cells}"
                    f'<td class="wanted">{escape(measure.wanted())}</td></tr>')
    return "".join([*rows, "</tbody></table>"])


def _legend(evaluations: Sequence[Evaluation]) -> str:
    known = set().union(*(e.curves for e in evaluations))
    kinds = [("dub", "dub", True), ("truth", "truth", "opening_truth" in known), ("source", "source", "opening_source" in known)]
    if all(e.truth == e.source for e in evaluations):
        kinds[2] = ("", "", False)                                    # one line twice
    items = [f'<span><i style="border-color:var(--{name})"></i>{text}</span>' for name, text, shown in kinds if shown]
    return (f'<p class="legend">{"".join(items)}<span class="soft">area: level of the driving sound; in outer-eye distances</span></p>')


def _plots(evaluation: Evaluation) -> list[str]:
    curves = evaluation.curves
    times = curves["time"]
    lines = [("source", times, curves["opening_source"])] if "opening_source" in curves and evaluation.truth != evaluation.source else []
    lines += [("truth", times, curves["opening_truth"])] if "opening_truth" in curves else []
    lines.append(("dub", times, curves["opening"]))
    highest = [np.nanquantile(v, 0.995) for _, _, v in lines if np.isfinite(v).any()]
    top = max(0.06, 1.08 * float(max(highest, default=0.06)))
    rows = rows_of(times)
    parts = [timeline(row, lines, top, (curves["sound_time"], curves["sound_level"]),
                      label=f"Opening of the mouth from {row[0]:.1f} to {row[1]:.1f} seconds") for row in rows]
    if len(times) and times[-1] > rows[-1][1] + 0.5:
        parts.append(f'<p class="soft">The first {rows[-1][1]:.0f} of {times[-1]:.0f} seconds are shown.</p>')
    return parts


def _strip(evaluation: Evaluation) -> str:
    figures = []
    for tile in evaluation.tiles:
        pictures = "".join(f'<div><img alt="{name} at {tile.time:.2f} s" src="data:image/jpeg;base64,'
                           f'{base64.b64encode(data).decode()}"><span>{name}</span></div>' for name, data in tile.crops.items())
        figures.append(f"<figure>{pictures}<figcaption>{escape(tile.title)}<br>{tile.time:.2f} s</figcaption></figure>")
    return f'<div class="strip">{"".join(figures)}</div>' if figures else '<p class="soft">No frame with a face.</p>'


def _facts(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    def seconds(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f} s"

    lines: list[tuple[str, list[str]]] = [
        ("Frames with a face / all", [f"{e.frames_with_face} / {e.frames}" for e in evaluations]),
        ("Picture begins, lasts", [f"{seconds(e.timing.video_start)}, {seconds(e.timing.video_seconds)}" for e in evaluations]),
        ("Sound begins, lasts", [f"{seconds(e.timing.audio_start)}, {seconds(e.timing.audio_seconds)}" for e in evaluations])]
    if any(e.passed is not None for e in evaluations):
        said = [", ".join(f"{count} {reason}" for reason, count in (e.passed or {}).items() if count) or "none" for e in evaluations]
        lines.append(("Frames passed through, why", said))
    if any("changed_frames" in e.counts for e in evaluations):
        lines.append(("Frames that differ within the region",
                      [f"{e.counts.get('changed_frames', 0)} / {e.counts.get('compared_frames', 0)}" for e in evaluations]))
    lines.append(("Rests on", ["; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in e.counts.items()) for e in evaluations]))
    body = "".join(f"<tr><td>{escape(key)}</td>{''.join(f'<td>{escape(v)}</td>' for v in cells)}</tr>" for key, cells in lines)
    return f"<table><thead><tr><th></th>{''.join(f'<th>{escape(n)}</th>' for n in names)}</tr></thead><tbody>{body}</tbody></table>"
