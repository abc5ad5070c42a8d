"""Templates by clicking, the quick one and the four stages by Run, the blueprint by search: in the page, as a user does it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from web.editor import MODES, WORKFLOWS, Editor, workflow_of

MOUTH, ABOVE = (0.31, 0.47, 0.69, 0.69), (0.0, 0.0, 1.0, 0.31)       # left, top, right, bottom, of the demo's clip


def expect_tidy(editor: Editor) -> None:
    boxes = editor.boxes()
    for (a, one), (b, other) in itertools.combinations(boxes.items(), 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, f"{a} {one} lies over {b} {other}"
    left, top, right, bottom = editor.view()
    for title, box in boxes.items():
        assert left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom, f"{title} is out of sight"


def expect_dubbed(editor: Editor) -> None:
    """The result beside its source, as the browser decodes both: the mouth has changed, the rest is the same but for encoding."""
    assert editor.trouble.count() == 0, editor.trouble.inner_text()
    video = editor.output_video()
    assert (video["width"], video["height"]) == (480, 480) and abs(video["seconds"] - 2.4) < 0.1
    mouth, above = [], []
    for seconds in (0.2, 1.0, 1.8):
        editor.seek(seconds)
        mouth.append(editor.difference(*MOUTH))
        above.append(editor.difference(*ABOVE))
    assert max(above) < 3 and max(mouth) > 3 * max(*above, 1), (mouth, above)      # levels; the host's own encoding costs 2


def test_the_template_browser_has_all_of_them_with_their_pictures(newcomer: Callable[..., Editor]) -> None:
    editor = newcomer()
    assert sorted(editor.browse()) == [file.stem for file in WORKFLOWS]
    for file in WORKFLOWS:                                            # those below come when they are scrolled to
        card = editor.page.get_by_test_id(f"template-workflow-{file.stem}")
        card.scroll_into_view_if_needed()
        card.locator("img").first.wait_for()
    assert all(file.with_suffix(".jpg").stat().st_size < 120_000 for file in WORKFLOWS)
    editor.picture("templates")


@MODES
@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_template_opens_whole(newcomer: Callable[..., Editor], file, modern: bool) -> None:
    editor = newcomer(modern)
    editor.load(file.stem)
    assert editor.unknown_nodes() == []
    assert editor.trouble.count() == 0, editor.trouble.inner_text()  # the page's notice of missing nodes, models and media
    assert editor.dialog.count() == 0
    expect_tidy(editor)
    note = next(node for node in workflow_of(file.stem)["nodes"] if node["type"] == "MarkdownNote")
    heading = re.match(r"# (.+)", note["widgets_values"][0]).group(1)
    assert editor.page.get_by_role("heading", name=heading).is_visible()
    editor.picture(f"open-{file.stem}")


def test_missing_nodes_and_files_would_be_noticed(newcomer: Callable[..., Editor]) -> None:
    """What the test above looks at does speak up."""
    workflow = workflow_of("quick_dub")
    next(node for node in workflow["nodes"] if node["type"] == "OpenLipSyncDubVideo")["type"] = "OpenLipSyncGone"
    editor = newcomer()
    editor.page.keyboard.press("Escape")
    editor.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    editor.trouble.wait_for()
    assert editor.unknown_nodes() == ["OpenLipSyncGone"]


@MODES
def test_quick_dub_runs(newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern)
    editor.load("quick_dub")
    editor.run()
    expect_dubbed(editor)
    assert re.fullmatch(r"dubbed_\d+_\.mp4", editor.output_video()["name"])
    expect_tidy(editor)
    editor.seek(1.72)                                                 # rounded lips, where the source smiles
    editor.picture("quick-dub")


@MODES
def test_four_stages_run(newcomer: Callable[..., Editor], modern: bool) -> None:
    editor = newcomer(modern)
    editor.load("four_stages")
    editor.run()
    expect_dubbed(editor)
    assert editor.pictures_in("Preview: the crops") == 60
    assert editor.pictures_in("Preview: the new mouths") > 50
    editor.page.wait_for_load_state("networkidle")
    expect_tidy(editor)
    editor.seek(1.72)
    editor.picture("four-stages")


def test_the_blueprint_is_found_and_runs(newcomer: Callable[..., Editor]) -> None:
    editor = newcomer()
    page = editor.page
    page.keyboard.press("Escape")
    editor.dialog.wait_for(state="hidden")
    page.wait_for_load_state("networkidle")
    editor.search("Dub a Video")
    page.get_by_text("Subgraph Blueprints / OpenLipSync").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_function("app.graph._nodes.length === 1")           # it hangs on the pointer until a click puts it down
    page.mouse.move(740, 380, steps=5)
    page.mouse.click(760, 400)
    page.wait_for_timeout(500)
    page.evaluate("""() => {
        const dub = app.graph._nodes[0]
        const add = (type, x, y, file) => {
            const node = LiteGraph.createNode(type)
            app.graph.add(node)
            node.pos = [dub.pos[0] + x, dub.pos[1] + y]
            node.widgets[0].value = file
            return node
        }
        add('LoadVideo', -500, 0, 'clip.mp4').connect(0, dub, 0)
        add('LoadAudio', -500, 460, 'speech.wav').connect(0, dub, 1)
        dub.connect(0, add('SaveVideo', 420, 0, 'video/blueprint'), 0)
        app.canvas.deselectAll()                                      // Fit View would show the selected node only
    }""")
    editor.run()
    expect_dubbed(editor)
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    editor.picture("blueprint")
