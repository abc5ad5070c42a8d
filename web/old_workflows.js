// Workflows keep a node's values as a bare list, in the order of its widgets. Where that order has changed, what was saved before is put into
// the new one; values that did not exist then are left to their defaults.
import { app } from "../../scripts/app.js";

// Dub Video first began with strength, a number; now it begins with face, a word.
const DUB_BEFORE = ["strength", "silence", "offset_ms", "face", "number", "x", "y", "detector", "smoothing", "feather", "mask_grow",
  "colour_match", "batch_size", "codec", "crf", "extend_video", "extend_seconds", "extend_audio", "bypass", "overlay", "mark"];
// Name: default, in the order of today, as the server tells.
const dubNow = {};

function mend(nodes) {
  for (const node of nodes ?? []) {
    const values = node.widgets_values;
    if (node.type !== "OpenLipSyncDubVideo" || !Array.isArray(values) || typeof values[0] !== "number") continue;
    const named = Object.fromEntries(DUB_BEFORE.slice(0, values.length).map((name, i) => [name, values[i]]));
    node.widgets_values = Object.entries(dubNow).map(([name, usual]) => named[name] ?? usual);
  }
}

app.registerExtension({
  name: "OpenLipSync.OldWorkflows",
  beforeRegisterNodeDef(nodeType, { name, input }) {
    if (name !== "OpenLipSyncDubVideo") return;
    // Sockets have no default.
    for (const [key, [, details]] of Object.entries({ ...input.required, ...input.optional }))
      if (details && "default" in details) dubNow[key] = details.default;
  },
  beforeConfigureGraph(graph) {
    mend(graph.nodes);
    for (const inner of graph.definitions?.subgraphs ?? []) mend(inner.nodes);
  },
});
