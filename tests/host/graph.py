"""Graphs for the host: written in Python, or read from the workflow files as the page would send them.

The page keeps a workflow in its own ("UI") format, with positions, colours and each node's widget values in a bare list; the server takes
an API prompt: `{node id: {"class_type": ..., "inputs": {name: value or [node id, output number]}}}`. `prompt_of_workflow` does what the
page's `graphToPrompt` does, with nothing but the server's `/object_info`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
NEVER, BYPASS = 2, 4                                                  # LiteGraph's node modes: muted, bypassed
DECORATION = {"Note", "MarkdownNote"}
MEDIA = {"LoadVideo": ["clip.mp4"], "LoadAudio": ["speech.wav"], "LoadImage": ["photo.jpg"], "OpenLipSyncLoadAudio": ["speech.wav"]}
OTHER_MEDIA = {"dialogue": {"LoadVideo": ["dialogue.mp4"]},
               "two_speakers": {"LoadVideo": ["two_people.mp4"], "LoadAudio": ["speech.wav", "second.wav"]}}
"""What the workflows are given, by the types of their loaders, in order; by name, where it is something else."""


@dataclass(frozen=True)
class Node:
    """A node of a graph; `node[1]` is its second output."""

    id: str

    def __getitem__(self, output: int) -> list:
        return [self.id, output]


class Graph:
    """A prompt under construction. A `Node` given as an input means its first output."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict] = {}

    def add(self, class_type: str, inputs: dict[str, Any] | None = None, **more: Any) -> Node:
        """`inputs` is for names that Python can't spell: {"codec.encoding": "auto"}."""
        node = Node(str(len(self.nodes) + 1))
        given = {name: value[0] if isinstance(value, Node) else value for name, value in {**(inputs or {}), **more}.items()}
        self.nodes[node.id] = {"class_type": class_type, "inputs": given}
        return node

    def prompt(self, info: dict[str, dict]) -> dict[str, dict]:
        """The API prompt, with the host's defaults where this graph says nothing."""
        result = {}
        for node, entry in self.nodes.items():
            given = entry["inputs"]
            defaults = {name: value for name, spec in _inputs(info[entry["class_type"]], given)
                        if name not in given and (value := _default(spec)) is not None}
            result[node] = {"class_type": entry["class_type"], "inputs": {**defaults, **given}, "_meta": {"title": entry["class_type"]}}
        return result


def _options(spec: list) -> list:
    if isinstance(spec[0], list):
        return spec[0]
    return spec[1].get("options", [])


def _default(spec: list) -> Any:
    """What the page's widget starts with; None for a socket."""
    kind, details = spec[0], spec[1] if len(spec) > 1 else {}
    if kind == DYNAMIC_COMBO:
        return details.get("default", details["options"][0]["key"])
    if isinstance(kind, list) or kind == "COMBO":
        options = _options(spec)
        return details.get("default", options[0] if options else None)
    if details.get("forceInput"):
        return None
    return details.get("default", {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}.get(kind))


def _inputs(node_info: dict, chosen: dict[str, Any]) -> Iterator[tuple[str, list]]:
    """Names and specs of a node's inputs in the order of the page; those of a dynamic combo follow it, for the option in `chosen`."""
    for group in ("required", "optional"):
        specs = node_info["input"].get(group, {})
        for name in node_info.get("input_order", {}).get(group, specs):
            yield from _with_nested(name, specs[name], chosen)


def _with_nested(name: str, spec: list, chosen: dict[str, Any]) -> Iterator[tuple[str, list]]:
    yield name, spec
    if spec[0] == DYNAMIC_COMBO:
        key = chosen.get(name, _default(spec))                        # read only now: the caller may have just learned it
        nested = next((option["inputs"] for option in spec[1]["options"] if option["key"] == key), {})
        for group in ("required", "optional"):
            for inner, inner_spec in nested.get(group, {}).items():
                yield from _with_nested(f"{name}.{inner}", inner_spec, chosen)


def load_workflow(file: Path) -> dict:
    """A workflow of the pack, with files chosen as its user does it: shipped, its loaders are empty, or the page would miss their files."""
    workflow = json.loads(file.read_text(encoding="utf-8"))
    for node, name in media_of(workflow, file.stem):
        assert node["widgets_values"][0] == "", f"{file.stem} names a file that nobody has: {node['widgets_values'][0]}"
        node["widgets_values"][0] = name
    return workflow


def media_of(workflow: dict, name: str) -> Iterator[tuple[dict, str]]:
    """The loaders of a workflow, and what the tests load with them."""
    files = {kind: iter(names) for kind, names in (MEDIA | OTHER_MEDIA.get(name, {})).items()}
    for node in workflow["nodes"]:
        if node["type"] in files:
            yield node, next(files[node["type"]])


def prompt_of_workflow(workflow: dict, info: dict[str, dict]) -> dict[str, dict]:
    """The API prompt of a workflow in the UI format. Raises KeyError for a node type that the host does not have."""
    links = {link[0]: link[1:4] if isinstance(link, list) else [link["origin_id"], link["origin_slot"], link["target_id"]]
             for link in workflow["links"] if link is not None}
    nodes = {node["id"]: node for node in workflow["nodes"]}

    def source(link: int | None) -> list | None:
        """The real output behind a link: through reroutes and bypassed nodes, None behind a muted one."""
        if link is None:
            return None
        origin, slot, _ = links[link]
        node = nodes[origin]
        if node.get("mode") == NEVER:
            return None
        if node["type"] == "Reroute":
            return source(node["inputs"][0]["link"])
        if node.get("mode") == BYPASS:
            kind = node["outputs"][slot]["type"]
            same = [entry["link"] for entry in node.get("inputs", []) if entry["type"] == kind and entry["link"] is not None]
            return source(same[0]) if same else None
        return [str(origin), slot]

    result = {}
    for node in workflow["nodes"]:
        if node["type"] in DECORATION or node["type"] == "Reroute" or node.get("mode") in (NEVER, BYPASS):
            continue
        if node["type"] not in info:
            raise KeyError(f"node {node['id']}: the host has no node {node['type']!r}")
        inputs = _widget_values(node, info[node["type"]])
        for entry in node.get("inputs", []):
            if (origin := source(entry.get("link"))) is not None:
                inputs[entry["name"]] = origin
        result[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": node.get("title", node["type"])}}
    return result


def _widget_values(node: dict, node_info: dict) -> dict[str, Any]:
    """Names for the bare list: one value for each widget, linked or not, in the order of the inputs."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return dict(values)
    left = list(values)                                               # what is left at the end is the page's: upload buttons, players
    result: dict[str, Any] = {}
    for name, spec in _inputs(node_info, result):
        details = spec[1] if len(spec) > 1 else {}
        is_widget = isinstance(spec[0], list) or spec[0] in WIDGETS or spec[0] == DYNAMIC_COMBO
        if not is_widget or details.get("forceInput"):
            continue
        if not left:
            break
        result[name] = left.pop(0)
        if details.get("control_after_generate") and left:            # "fixed", "randomize": the page's own business
            left.pop(0)
    return result
