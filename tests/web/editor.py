"""ComfyUI's editor as a person uses it, by what can be seen and clicked: frontend 1.47, classic nodes and Nodes 2.0."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from host.graph import media_of
from host.setup_host import REPOSITORY
from playwright.sync_api import Locator, Page, TimeoutError, expect

PACK = "OpenLipSync"
RUN_SECONDS = 120
MODES = pytest.mark.parametrize("modern", [False, True], ids=["classic", "modern"])
WORKFLOWS = sorted((REPOSITORY / "workflows").glob("*.json"))


def workflow_of(name: str) -> dict[str, Any]:
    return json.loads((REPOSITORY / "workflows" / f"{name}.json").read_text(encoding="utf-8"))


class Editor:
    """One page. `modern`: Nodes 2.0, where nodes are HTML; else they are drawn on a canvas and only their videos are HTML."""

    def __init__(self, page: Page, address: str, pictures: Path, modern: bool) -> None:
        self.page, self.pictures, self.modern, self.clicks = page, pictures, modern, 0
        self.dialog: Locator = page.get_by_role("dialog")
        self.trouble: Locator = page.get_by_test_id("error-overlay")
        page.goto(address)
        self.dialog.wait_for()                                        # a newcomer is shown the templates

    def browse(self) -> list[str]:
        """This pack's part of the template browser: names of the templates, once all that can be seen have their pictures."""
        self.click(self.dialog.get_by_text(PACK, exact=True).first)
        self.page.wait_for_function("""() => {
            const cards = [...document.querySelectorAll('[role=dialog] [data-testid^=template-workflow-]')]
            const seen = cards.filter(card => card.getBoundingClientRect().top < innerHeight - 250)
            return seen.length && seen.every(card => [...card.querySelectorAll('img')].some(i => i.complete && i.naturalWidth))
        }""")
        cards = self.page.locator("[role=dialog] [data-testid^=template-workflow-]").all()
        return [card.get_attribute("data-testid").removeprefix("template-workflow-") for card in cards]

    def click(self, what: Locator) -> None:
        """Click, and count it."""
        self.clicks += 1
        what.click()

    def open(self, name: str) -> None:
        """Click a template, and wait until its graph is on the page."""
        self.browse()
        self.click(self.page.get_by_test_id(f"template-workflow-{name}"))
        self.dialog.wait_for(state="hidden")
        self.page.wait_for_function("count => app.graph._nodes.length === count", arg=len(workflow_of(name)["nodes"]))
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(500)                               # previews settle their nodes' sizes

    def load(self, name: str) -> None:
        """A template with media in its loaders: files that the host has already."""
        self.open(name)
        self.choose({node["id"]: file for node, file in media_of(workflow_of(name), name)})

    def choose(self, files: dict[int, str]) -> None:
        """Say which file a loader loads, by its node's number."""
        self.page.evaluate("""files => {
            for (const [id, name] of Object.entries(files)) {
                const widget = app.graph.getNodeById(id).widgets[0]
                widget.value = name
                widget.callback?.(name)
            }
        }""", files)
        self.settle()

    def upload(self, title: str, file: Path) -> None:
        """A file of one's own into a loader: a click on the node's button, another in the system's dialog."""
        with self.page.expect_file_chooser() as chooser:
            if self.modern:
                self.click(self.node(title).get_by_label("Upload").locator("xpath=.."))    # its picture lies over it
            else:
                self.press(title, "upload")
        chooser.value.set_files(file)
        self.clicks += 1
        self.page.wait_for_function("""([title, name]) => app.graph._nodes.find(n => n.title === title).widgets[0].value === name""",
                                    arg=[title, file.name])
        self.settle()

    def node(self, title: str) -> Locator:
        """A node of Nodes 2.0."""
        return self.page.locator("[data-node-id]").filter(has=self.page.get_by_text(title, exact=True)).first

    def search(self, text: str) -> None:
        """Double-click the empty canvas, and type into the search for nodes that opens."""
        box = self.dialog.get_by_role("combobox").or_(self.dialog.get_by_role("textbox")).first
        for _ in range(5):                                            # clicks on a canvas that is still busy are lost
            self.page.mouse.dblclick(760, 400)
            try:
                box.wait_for(timeout=5000)
                break
            except TimeoutError:
                continue
        box.fill(text)

    def unknown_nodes(self) -> list[str]:
        """Types in the graph that no installed node has; the page shows them as empty red boxes."""
        return self.page.evaluate("app.graph._nodes.map(n => n.type).filter(t => !(t in LiteGraph.registered_node_types))")

    def boxes(self) -> dict[str, tuple[float, float, float, float]]:
        """Title: left, top, right, bottom on the canvas, with title bar and the video that hangs below a Save Video."""
        found = self.page.evaluate("app.graph._nodes.map(n => [n.title, ...n.boundingRect])")
        return {title: (x, y, x + width, y + height) for title, x, y, width, height in found}

    def view(self) -> tuple[float, float, float, float]:
        """The part of the canvas that is on the screen."""
        x, y, width, height = self.page.evaluate("[...app.canvas.ds.visible_area]")
        return x, y, x + width, y + height

    def press(self, title: str, button: str) -> None:
        """A button of a node."""
        if self.modern:
            return self.click(self.node(title).get_by_role("button", name=button))
        x, y = self.page.evaluate("""([title, name]) => {
            const node = app.graph._nodes.find(n => n.title === title), widget = node.widgets.find(w => w.name === name)
            const box = app.canvas.canvas.getBoundingClientRect()
            const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10])
            return [box.left + x, box.top + y]
        }""", [title, button])
        self.clicks += 1
        self.page.mouse.click(x, y)

    def shown(self, title: str) -> list[str]:
        """The widgets of a node that can be seen, from above."""
        if self.modern:
            names = self.values(title)
            texts = self.node(title).inner_text().splitlines()
            return [name for name in names if name in texts]
        return self.page.evaluate("""title => app.graph._nodes.find(n => n.title === title).widgets
            .filter(w => !w.hidden && w.last_y !== undefined).sort((a, b) => a.last_y - b.last_y).map(w => w.name)""", title)

    def set(self, title: str, name: str, value: Any) -> None:
        """A value for a widget, as choosing it from its list does."""
        self.page.evaluate("""([title, name, value]) => {
            const node = app.graph._nodes.find(n => n.title === title), widget = node.widgets.find(w => w.name === name)
            widget.value = value
            widget.callback?.(value, app.canvas, node)
        }""", [title, name, value])

    def values(self, title: str) -> dict[str, Any]:
        """What the widgets of a node say."""
        return self.page.evaluate("""title => Object.fromEntries(app.graph._nodes.find(n => n.title === title).widgets
            .map(w => [w.name, w.value]))""", title)

    def run(self) -> None:
        """Press Run; returns when a finished video, or trouble, is on the page."""
        self.click(self.page.get_by_test_id("queue-button"))
        self.page.wait_for_function("""() => document.querySelector('[data-testid=error-overlay]')
            || [...document.querySelectorAll('video')].some(v => v.src.includes('type=output') && v.videoWidth && v.readyState >= 2)""",
                                    timeout=RUN_SECONDS * 1000)

    def pictures_in(self, title: str) -> int:
        """How many pictures a Preview Image shows."""
        return self.page.evaluate("""title => {
            const node = app.graph._nodes.find(n => n.title === title)
            return app.nodeOutputs[node.id]?.images?.length ?? 0
        }""", title)

    def seek(self, seconds: float) -> None:
        """Every video on the page to the same moment."""
        self.page.evaluate("""seconds => Promise.all([...document.querySelectorAll('video')].filter(v => v.videoWidth).map(v =>
            new Promise(done => { v.addEventListener('seeked', done, {once: true}); v.pause(); v.currentTime = seconds })))""", seconds)

    def difference(self, left: float, top: float, right: float, bottom: float) -> float:
        """Mean absolute difference, in 8-bit levels, between the source and the result as the page shows them: part of the picture."""
        return self.page.evaluate("""([left, top, right, bottom]) => {
            const pixels = type => {
                const video = [...document.querySelectorAll('video')].find(v => v.src.includes('type=' + type) && v.videoWidth)
                const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight), pen = canvas.getContext('2d')
                pen.drawImage(video, 0, 0)
                const [w, h] = [video.videoWidth, video.videoHeight]
                return pen.getImageData(left * w, top * h, (right - left) * w, (bottom - top) * h).data
            }
            const a = pixels('input'), b = pixels('output')
            return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length * 4 / 3
        }""", [left, top, right, bottom])

    def output_video(self) -> dict[str, Any]:
        return self.page.evaluate("""() => {
            const v = [...document.querySelectorAll('video')].find(v => v.src.includes('type=output') && v.videoWidth)
            return {width: v.videoWidth, height: v.videoHeight, seconds: v.duration, name: new URL(v.src).searchParams.get('filename')}
        }""")

    def picture(self, name: str) -> None:
        """A screenshot without passing notices."""
        expect(self.page.get_by_text(re.compile("^Job (queued|completed)$")).filter(visible=True)).to_have_count(0, timeout=30_000)
        self.page.mouse.move(800, self.page.viewport_size["height"] - 20)
        self.page.wait_for_timeout(1000)                              # video controls and tooltips fade
        mode = "-modern" if self.modern else ""
        self.page.screenshot(path=self.pictures / f"{name}{mode}.jpg", type="jpeg", quality=88)
