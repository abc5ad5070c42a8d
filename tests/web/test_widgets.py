"""What the pack adds to the page: the face picker, widgets that are shown where they count, workflows of before."""

from __future__ import annotations

import re
from collections.abc import Callable

import cv2
import numpy as np
from host.comfy import Server
from PIL import Image
from web.editor import MODES, Editor, workflow_of

BEFORE = [0.8, "keep", 40, "number", 1, 0, 0, "built in", 1.5, 0.22, 0, False, 4, "h264", 20, "bounce", 2.5, "off", "1-2", True]
"""Values of Dub Video as they were saved when it began with strength, before there was a mark."""


@MODES
def test_a_face_is_chosen_by_clicking_it(newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern)
    page = editor.page
    editor.load("quick_dub")
    editor.choose({2: "two_people.mp4"})
    title = page.evaluate("app.graph._nodes.find(n => n.type === 'OpenLipSyncDubVideo').title")
    editor.press(title, "choose face…")
    picker = page.get_by_role("dialog", name="Choose a face")
    faces = picker.get_by_role("button", name=re.compile("^Face"))
    faces.first.wait_for()
    labels = [face.get_attribute("aria-label") for face in faces.all()]
    assert labels == ["Face 0, from the left, of 2", "Face 1, from the left, of 2"]
    left, right = (face.bounding_box() for face in faces.all())
    assert left["x"] + left["width"] < right["x"] and page.evaluate("document.activeElement.ariaLabel").startswith("Face 0")
    editor.picture("choose-face")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")                                      # a keyboard does it, too
    picker.wait_for(state="detached")
    assert (editor.values(title)["face"], editor.values(title)["number"]) == ("number", 1)
    saved = page.evaluate("app.graph.serialize()")
    node = next(node for node in saved["nodes"] if node["type"] == "OpenLipSyncDubVideo")
    page.evaluate("workflow => app.loadGraphData(workflow)", saved)   # as it was saved, with the button of its own
    assert (editor.values(title)["face"], editor.values(title)["number"]) == ("number", 1) and "number" in node["widgets_values"]
    assert editor.values(title)["mark"] == "metadata"
    editor.press(title, "choose face…")
    faces.first.click()
    assert editor.values(title)["number"] == 0
    editor.press(title, "choose face…")
    faces.first.wait_for()
    page.keyboard.press("Escape")
    picker.wait_for(state="detached")
    assert editor.values(title)["number"] == 0


def test_the_picker_speaks_the_language_of_the_page(server: Server, newcomer: Callable[..., Editor]) -> None:
    server.post("/settings/Comfy.Locale", "fr")
    try:
        editor = newcomer()
        editor.load("quick_dub")
        label = editor.page.evaluate("""app.graph._nodes.find(n => n.type === 'OpenLipSyncDubVideo').widgets
            .find(w => w.name === 'choose face…').label""")
        title = editor.page.evaluate("app.graph._nodes.find(n => n.type === 'OpenLipSyncDubVideo').title")
        editor.press(title, "choose face…")
        picker = editor.page.get_by_role("dialog", name="Choisir un visage")
        picker.get_by_role("button", name="Visage 0, depuis la gauche, sur 1").wait_for()
        editor.picture("choose-face-fr")
        assert label == "choisir le visage…"
    finally:
        server.post("/settings/Comfy.Locale", "en")


def test_a_voice_asks_for_the_faces_of_the_video_that_it_speaks_in(newcomer: Callable[..., Editor]) -> None:
    editor = newcomer()
    editor.load("two_speakers")
    title = editor.page.evaluate("app.graph._nodes.filter(n => n.type === 'OpenLipSyncVoice').at(-1).title")
    editor.press(title, "choose face…")
    faces = editor.page.get_by_role("dialog", name="Choose a face").get_by_role("button", name=re.compile("^Face"))
    faces.nth(1).click()
    assert editor.values(title)["number"] == 1 and editor.values(title)["who"] == ""


@MODES
def test_widgets_are_shown_where_they_count(newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern)
    editor.open("quick_dub")
    title = "Dub Video"
    assert editor.shown(title)[:5] == ["face", "strength", "silence", "offset_ms", "extend_video"]
    size = editor.boxes()[title]
    editor.set(title, "face", "point")
    editor.set(title, "extend_video", "bounce")
    editor.page.wait_for_timeout(300)
    assert editor.shown(title)[:8] == ["face", "x", "y", "strength", "silence", "offset_ms", "extend_video", "extend_seconds"]
    assert editor.boxes()[title] == size                              # there was room
    editor.picture("point")
    editor.set(title, "face", "number")
    editor.page.wait_for_timeout(300)
    assert editor.shown(title)[:3] == ["face", "number", "strength"]
    saved = editor.page.evaluate("app.graph.serialize()")             # what is hidden keeps its value and its place
    values = next(node for node in saved["nodes"] if node["type"] == "OpenLipSyncDubVideo")["widgets_values"]
    assert values[:9] == ["number", 0, 0, 0, 1, "close", 0, "bounce", 5]
    editor.page.evaluate("workflow => app.loadGraphData(workflow)", saved)
    editor.page.wait_for_timeout(500)
    assert editor.shown(title)[:3] == ["face", "number", "strength"]


@MODES
def test_a_new_node_is_as_large_as_what_it_shows(newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern)
    editor.page.keyboard.press("Escape")
    editor.dialog.wait_for(state="hidden")
    editor.page.evaluate("""() => {
        const node = LiteGraph.createNode('OpenLipSyncDetectFaces')
        node.pos = [300, 200]
        app.graph.add(node)
    }""")
    title, bottoms = "Detect & Crop Faces", []
    for choice, shown in (("largest", ["face"]), ("point", ["face", "x", "y"]), ("number", ["face", "number"]), ("all", ["face"])):
        editor.set(title, "face", choice)
        editor.page.wait_for_timeout(500)
        assert [name for name in editor.shown(title) if name in ("face", "number", "x", "y")] == shown
        bottoms.append(editor.boxes()[title][3])
    if not modern:                                                    # Nodes 2.0 grow with what they show, and shrink when told to
        assert bottoms[1] - bottoms[0] == 2 * (bottoms[2] - bottoms[0]) > 0 and bottoms[3] == bottoms[0], bottoms


@MODES
def test_a_workflow_of_before_keeps_its_values_and_links(newcomer: Callable[..., Editor], modern: bool) -> None:
    """As saved when Dub Video's widgets stood in another order, Generate's generator first, and the generator was required."""
    workflow = workflow_of("quick_dub")
    node = next(node for node in workflow["nodes"] if node["type"] == "OpenLipSyncDubVideo")
    node["widgets_values"] = BEFORE
    editor = newcomer(modern)
    editor.page.keyboard.press("Escape")
    editor.dialog.wait_for(state="hidden")
    editor.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    editor.page.wait_for_timeout(500)
    values = editor.values("Dub Video")
    assert {name: values[name] for name in ("strength", "silence", "offset_ms", "face", "number", "smoothing", "colour_match", "batch_size",
                                            "codec", "crf", "extend_video", "extend_seconds", "bypass", "overlay", "mark")} == {
        "strength": 0.8, "silence": "keep", "offset_ms": 40, "face": "number", "number": 1, "smoothing": 1.5, "colour_match": False,
        "batch_size": 4, "codec": "h264", "crf": 20, "extend_video": "bounce", "extend_seconds": 2.5, "bypass": "1-2", "overlay": True,
        "mark": "metadata"}
    stages = workflow_of("four_stages")
    node = next(node for node in stages["nodes"] if node["type"] == "OpenLipSyncGenerate")
    faces, generator = node["inputs"][:2]
    node["inputs"][:2] = generator, faces
    for link in stages["links"]:
        if link[0] in (faces["link"], generator["link"]):
            link[4] = 1 - link[4]
    editor.page.evaluate("workflow => app.loadGraphData(workflow)", stages)
    editor.page.wait_for_timeout(500)
    ends = editor.page.evaluate("""() => app.graph._nodes.find(n => n.type === 'OpenLipSyncGenerate').inputs.slice(0, 2)
        .map(i => [i.name, app.graph.getNodeById(app.graph.links.get(i.link).origin_id).type])""")
    assert sorted(ends) == [["faces", "OpenLipSyncDetectFaces"], ["generator", "OpenLipSyncLoadGenerator"]]


def test_pictures_of_the_nodes_for_the_help_pages(newcomer: Callable[..., Editor]) -> None:
    """build/web/node_*.png, to be copied into web/docs/img when a node has changed: as an open help page shows them, twice as fine."""
    editor = newcomer(fine=True)
    page = editor.page
    page.keyboard.press("Escape")
    editor.dialog.wait_for(state="hidden")
    page.wait_for_load_state("networkidle")
    kinds = page.evaluate("Object.keys(LiteGraph.registered_node_types).filter(name => name.startsWith('OpenLipSync'))")
    for kind in kinds:
        left, top, width, height = page.evaluate("""kind => {
            app.graph.clear()
            const node = LiteGraph.createNode(kind)
            app.graph.add(node)
            node.pos = [500, 120]
            node.setSize([300, node.widgets?.some(w => w.element && !w.hidden) ? node.size[1] : node.computeSize()[1]])
            app.canvas.ds.scale = 1
            app.canvas.ds.offset = [0, 0]
            app.canvas.deselectAll()
            app.canvas.setDirty(true, true)
            const box = app.canvas.canvas.getBoundingClientRect()
            return [box.left + node.pos[0] - 14, box.top + node.pos[1] - 60, node.size[0] + 28, node.size[1] + 74]
        }""", kind)
        page.wait_for_timeout(400)
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.removeprefix("OpenLipSync")).lower()
        picture = page.screenshot(clip={"x": left, "y": top, "width": width, "height": height})
        pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.shape[1] == 656 and pixels.std() > 5
        Image.fromarray(pixels[..., ::-1]).quantize(64).save(editor.pictures / f"node_{name}.png", optimize=True)
    assert len(kinds) >= 11
