// Widgets that a choice makes meaningless are not shown: "number" without the choice "number", and so on. They are still there and keep their
// values, so that saved workflows and the server see the same inputs as ever. Works with the classic nodes and with Nodes 2.0.
import { app } from "../../scripts/app.js";

const FACE = {
  number: (value) => value("face") === "number",
  x: (value) => value("face") === "point",
  y: (value) => value("face") === "point",
};
const NEEDED = {
  OpenLipSyncDetectFaces: FACE,
  OpenLipSyncDubVideo: {
    ...FACE,
    extend_seconds: (value) => ["forward", "bounce"].includes(value("extend_video")),
    crf: (value) => !["ffv1", "prores"].includes(value("codec")),
  },
  OpenLipSyncLoadGenerator: { restorer_strength: (value) => value("restorer") !== "none" },
  OpenLipSyncWhoSpeaks: { text: (value) => value("mode") === "text", file: (value) => value("mode") === "file" },
};

// True if something has changed.
function hide(node, rules) {
  const value = (name) => node.widgets.find((one) => one.name === name)?.value;
  const connected = (name) => node.inputs?.some((one) => one.name === name && one.link != null);
  let changed = false;
  for (const widget of node.widgets ?? []) {
    const rule = rules[widget.name];
    // What comes from another node is always shown, even where it does not count: a link needs an end.
    const hidden = Boolean(rule) && !connected(widget.name) && !rule(value);
    if (!rule || hidden === Boolean(widget.hidden)) continue;
    widget.hidden = hidden;
    widget.options.hidden = hidden;                                   // in place: Nodes 2.0 keep this very object
    changed = true;
  }
  // Nodes 2.0 look at a node's widgets anew when its list is set.
  if (changed) node.widgets = [...node.widgets];
  return changed;
}

function follow(node, rules) {
  const update = (fit) => {
    const before = node.computeSize()[1];
    if (!hide(node, rules)) return;
    // A node that was as small as it could be stays so; one with room to spare, as its user or a preview has made it, keeps its size.
    const after = node.computeSize()[1];
    if (fit) node.setSize([node.size[0], node.size[1] <= before + 1 ? after : Math.max(after, node.size[1])]);
    app.graph?.setDirtyCanvas(true, true);
  };
  for (const widget of node.widgets ?? []) {
    const { callback } = widget;
    widget.callback = function (...given) {
      const result = callback?.apply(this, given);
      update(true);
      return result;
    };
  }
  const { onConfigure, onConnectionsChange } = node;
  node.onConfigure = function (...given) {
    onConfigure?.apply(this, given);
    update(false);                                                    // a saved node has the size that it was saved with
  };
  node.onConnectionsChange = function (...given) {
    onConnectionsChange?.apply(this, given);
    update(true);
  };
  update(true);
}

app.registerExtension({
  name: "OpenLipSync.NeededWidgets",
  nodeCreated(node) {
    const rules = NEEDED[node.comfyClass ?? node.type];
    if (rules) follow(node, rules);
  },
});
