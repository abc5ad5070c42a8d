// "choose face…": a frame of the clip with everybody's number, to click on. Works with the classic nodes and with Nodes 2.0, which both draw
// widgets of the kind "button". No build step: the page loads this file as it is. Its words are in locales/*/main.json.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const VOICE = "OpenLipSyncVoice";
const NODES = ["OpenLipSyncDubVideo", "OpenLipSyncDetectFaces", VOICE];
const FILES = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|gif|png|jpe?g|webp)(\s\[\w+\])?$/i;
const STYLE = `
  .openlipsync-picker { border: 1px solid #555; border-radius: 8px; padding: 16px; background: #202020; color: #eee; font: 14px sans-serif;
    max-width: min(92vw, 1000px); }
  .openlipsync-picker::backdrop { background: rgba(0, 0, 0, 0.6); }
  .openlipsync-picker h2 { font-size: 16px; margin: 0 0 12px; }
  .openlipsync-picker .frame { position: relative; width: fit-content; line-height: 0; }
  .openlipsync-picker img { max-width: 100%; max-height: 70vh; }
  .openlipsync-picker .face { position: absolute; border: 3px solid #fff; border-radius: 6px; background: rgba(0, 0, 0, 0.05); cursor: pointer;
    padding: 0; box-shadow: 0 0 0 1px #000; }
  .openlipsync-picker .face:hover, .openlipsync-picker .face:focus-visible { border-color: #ffcc33; outline: 2px solid #ffcc33;
    background: rgba(255, 204, 51, 0.25); }
  .openlipsync-picker .face span { position: absolute; left: 0; top: 0; font: bold 16px sans-serif; line-height: 1.4; padding: 0 8px;
    color: #000; background: #fff; border-radius: 0 0 6px 0; }
  .openlipsync-picker .close { margin-top: 12px; padding: 6px 14px; }`;

let words = {};

function say(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Links are a Map or an object, by the age of the page.
function linkOf(id) {
  return id == null ? null : app.graph.links.get?.(id) ?? app.graph.links[id];
}

function above(node, name) {
  const link = linkOf(node.inputs?.find((one) => one.name === name)?.link);
  return link ? app.graph.getNodeById(link.origin_id) : null;
}

// Nodes from `start` on, the nearest first; `next` gives the neighbours of one. What `look` finds first.
function search(start, next, look) {
  const seen = new Set();
  for (let nodes = [start]; nodes.length; ) {
    const fresh = nodes.filter((node) => node && !seen.has(node.id) && seen.add(node.id));
    for (const node of fresh) {
      const found = look(node);
      if (found) return found;
    }
    nodes = fresh.flatMap(next);
  }
  return null;
}

// The file that a picture comes from: of the nearest node above that names one.
function fileAbove(start) {
  const pictures = (node) => (node.inputs ?? []).filter((one) => /^(VIDEO|IMAGE|\*|COMFY_MATCHTYPE.*|IMAGE,VIDEO)$/.test(String(one.type)));
  return search(start, (node) => pictures(node).map((one) => above(node, one.name)),
    (node) => node.widgets?.find((one) => /^(file|video|image)$/.test(one.name) && FILES.test(String(one.value)))?.value);
}

// A voice has no picture: that of whoever it speaks for.
function clipOf(node) {
  if (node.type !== VOICE) return fileAbove(node);
  const below = (one) => (one.outputs ?? []).flatMap((output) => output.links ?? []).map((id) => app.graph.getNodeById(linkOf(id)?.target_id));
  return search(node, below, (one) => {
    const faces = one.type === VOICE ? null : above(one, "faces");
    return one.type === VOICE ? null : fileAbove(one) ?? (faces && fileAbove(faces));
  });
}

function set(node, name, value) {
  const widget = node.widgets?.find((one) => one.name === name);
  if (!widget) return;
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
}

function choose(node, number) {
  set(node, "face", "number");
  set(node, "number", number);
  set(node, "who", "");
  app.graph.setDirtyCanvas(true, true);
}

function dialogOf(title) {
  if (!document.getElementById("openlipsync-picker-style")) {
    const style = document.createElement("style");
    style.id = "openlipsync-picker-style";
    style.textContent = STYLE;
    document.head.append(style);
  }
  const dialog = document.createElement("dialog");
  dialog.className = "openlipsync-picker";
  dialog.setAttribute("aria-label", say("title"));
  const heading = document.createElement("h2");
  heading.textContent = title;
  heading.setAttribute("role", "status");
  const close = document.createElement("button");
  close.className = "close";
  close.textContent = say("cancel");
  close.addEventListener("click", () => dialog.close());
  dialog.append(heading, close);
  dialog.addEventListener("close", () => dialog.remove());
  // What is typed here is not meant for the graph below.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, heading, close };
}

async function pick(node) {
  const file = clipOf(node);
  const { dialog, heading, close } = dialogOf(file ? say("looking", { file }) : say("noFile"));
  if (!file) return;
  let found;
  try {
    const answer = await api.fetchApi("/openlipsync/faces", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ file }),
    });
    found = await answer.json();
  } catch (error) {
    found = { error: String(error) };
  }
  if (!dialog.open) return;
  if (found.error || !found.boxes?.length) {
    heading.textContent = found.error ?? say("noFace");
    return;
  }
  heading.textContent = say(found.boxes.length === 1 ? "one" : "which");
  const frame = document.createElement("div");
  frame.className = "frame";
  const image = document.createElement("img");
  image.src = found.picture;
  image.alt = file;
  frame.append(image);
  found.boxes.forEach(([x0, y0, x1, y1], number) => {
    const button = document.createElement("button");
    button.className = "face";
    button.setAttribute("aria-label", say("face", { number, count: found.boxes.length }));
    button.style.left = `${(100 * x0) / found.width}%`;
    button.style.top = `${(100 * y0) / found.height}%`;
    button.style.width = `${(100 * (x1 - x0)) / found.width}%`;
    button.style.height = `${(100 * (y1 - y0)) / found.height}%`;
    const label = document.createElement("span");
    label.textContent = String(number);
    button.append(label);
    button.addEventListener("click", () => {
      choose(node, number);
      dialog.close();
    });
    frame.append(button);
  });
  dialog.insertBefore(frame, close);
  frame.querySelector(".face").focus();
}

app.registerExtension({
  name: "OpenLipSync.FacePicker",
  async init() {
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    const all = await (await api.fetchApi("/i18n")).json();
    words = { ...all.en?.openlipsync, ...all[language]?.openlipsync };
  },
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass ?? node.type)) return;
    const button = node.addWidget("button", "choose face…", null, () => pick(node), { serialize: false });
    button.serialize = false;
    button.label = say("button");
    button.tooltip = say("tooltip");
  },
});
