// Workflows keep a node's values as a bare list, in the order of its widgets. Where that order has changed, what was saved before is put into
// the new one; values that did not exist then are left to their defaults.
import { app } from "../../scripts/app.js";

// Dub Video first began with strength, a number; now it begins with face, a word.
const DUB_BEFORE = ["strength", "silence", "offset_ms", "face", "number", "x", "y", "detector", "smoothing", "feather", "mask_grow",
  "colour_match", "batch_size", "codec", "crf", "extend_video", "extend_seconds", "extend_audio", "bypass", "overlay", "mark"];
const DUB_NOW = { face: "largest", number: 0, x: 0, y: 0, strength: 1, silence: "close", offset_ms: 0, extend_video: "off", extend_seconds: 5,
  extend_audio: "off", bypass: "", detector: "built in", smoothing: 1, feather: 0.22, mask_grow: 0, colour_match: true, batch_size: 8,
  codec: "auto", crf: 18, mark: "metadata", overlay: false };

function mend(nodes) {
  for (const node of nodes ?? []) {
    const values = node.widgets_values;
    if (node.type !== "OpenLipSyncDubVideo" || !Array.isArray(values) || typeof values[0] !== "number") continue;
    const named = Object.fromEntries(DUB_BEFORE.slice(0, values.length).map((name, i) => [name, values[i]]));
    node.widgets_values = Object.entries(DUB_NOW).map(([name, usual]) => named[name] ?? usual);
  }
}

app.registerExtension({
  name: "OpenLipSync.OldWorkflows",
  beforeConfigureGraph(graph) {
    mend(graph.nodes);
    for (const inner of graph.definitions?.subgraphs ?? []) mend(inner.nodes);
  },
});
