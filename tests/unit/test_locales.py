"""The texts beside the nodes (`locales/`, `web/docs/`) say what the nodes' schemas say. Without a host, so schemas are read, not run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh", "ja", "ko", "es", "fr", "de")
CJK = {"zh": r"[\u4e00-\u9fff]", "ja": r"[\u3040-\u30ff\u4e00-\u9fff]", "ko": r"[\uac00-\ud7af]"}
SYMBOLS = {"x", "y", "fps", "crf"}
"""Names that are the same everywhere."""
SAME_WORD = {"es": {"audio", "video"}, "fr": {"audio", "images", "silence", "source", "codec", "options"}, "de": {"video"}}
"""Names that are the same word in that language."""
LITERAL = re.compile(r"'(number|point|\(connected audio\)|!)'|\b(morph|face-alignment|ffv1|prores|h26[45]|models/lipsync)\b|"
                     r"\.(safetensors|pth|pt|bin)\b|-?\d[\d./]*\d|\d")
"""What the page shows as it is in every language: options, file endings, codecs, numbers."""
PICTURE_BYTES = 60 * 1024
OTHERS_NAMES = re.compile(r"'[^']*'|{\w+}|\([a-z]+\)|MediaPipe Face Landmarker|(Save|Load|Trim|Create) Video|Get Video Components|"
                          r"number of|as a voice")
"""Where a term is none: options, the host's own nodes and networks, turns of speech."""


# -- schemas ----------------------------------------------------------------------------------------------------------------


@cache
def helpers() -> dict[str, list[ast.Call]]:
    """The functions of nodes/types.py that give an input, or several: what they return."""
    found = {}
    for item in ast.parse((ROOT / "nodes" / "types.py").read_text("utf-8")).body:
        if isinstance(item, ast.FunctionDef):
            value = next(part.value for part in ast.walk(item) if isinstance(part, ast.Return))
            found[item.name] = value.elts if isinstance(value, ast.List) else [value]
    return found


def calls(items: list[ast.expr]) -> Iterator[ast.Call]:
    """The `io.X.Input(...)` or `io.X.Output(...)` of a list, those of helpers included."""
    for item in items:
        call = item.value if isinstance(item, ast.Starred) else item
        if isinstance(call.func, ast.Name):
            yield from helpers()[call.func.id]
        else:
            yield call


def entry(call: ast.Call) -> dict[str, str]:
    """A tooltip that is made when the host asks for it (what lies in a folder) is no text that could be translated: a translation would
    hide it, since the page prefers it."""
    words = {word.arg: word.value for word in call.keywords}
    texts = {key: value.value for key, value in words.items() if isinstance(value, ast.Constant)}
    found = {"id": call.args[0].value, "name": texts.get("display_name", call.args[0].value)}
    return found if isinstance(words["tooltip"], ast.Call) else found | {"tooltip": texts["tooltip"]}


def translated(one: dict[str, str]) -> dict[str, str]:
    return {key: one[key] for key in ("name", "tooltip") if key in one}


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """By node id, in the form of ComfyUI's nodeDefs.json."""
    found = {}
    for file in sorted((ROOT / "nodes").glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "io.Schema"):
                continue
            words = {word.arg: word.value for word in call.keywords}
            inputs = [entry(one) for one in calls(words["inputs"].elts)]
            outputs = [entry(one) for one in calls(words["outputs"].elts)]
            found[words["node_id"].value] = {
                "display_name": words["display_name"].value,
                "description": words["description"].value,
                "inputs": {one["id"]: translated(one) for one in inputs},
                "outputs": {str(i): translated(one) for i, one in enumerate(outputs)},
            }
    return found


# -- locales ----------------------------------------------------------------------------------------------------------------


@cache
def texts(language: str) -> dict[str, str]:
    """Dotted key: text, of the nodes and of what the pack adds to the page."""
    files = [ROOT / "locales" / language / name for name in ("nodeDefs.json", "main.json")]
    return {key: text for file in files for key, text in flat(json.loads(file.read_text("utf-8")))}


def flat(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}.")
        else:
            yield path + key, value


def test_all_nodes_were_read() -> None:
    ids = [line for file in (ROOT / "nodes").glob("*.py") for line in re.findall(r'node_id="(\w+)"', file.read_text("utf-8"))]
    assert sorted(schemas()) == sorted(ids) and len(ids) >= 8


def test_english_is_what_the_schemas_say() -> None:
    assert {key: text for key, text in texts("en").items() if not key.startswith("openlipsync.")} == dict(flat(schemas()))


def test_the_page_asks_for_the_words_that_there_are() -> None:
    asked = re.findall(r"""say\((?:[^"()]*\? )?"(\w+)"(?: : "(\w+)")?""", (ROOT / "web" / "face_picker.js").read_text("utf-8"))
    assert {word for words in asked for word in words if word} == {key.removeprefix("openlipsync.") for key in texts("en")
                                                                   if key.startswith("openlipsync.")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_keys(language: str) -> None:
    assert list(texts(language)) == list(texts("en"))
    assert all(isinstance(text, str) and text == text.strip() and text for text in texts(language).values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_signs_that_the_frontend_takes_for_syntax(language: str) -> None:
    """vue-i18n: {placeholder}, @:link, plural | forms. The picker has placeholders of its own."""
    assert [key for key, text in texts(language).items() if re.search(r"[@|]" if key.startswith("openlipsync.") else r"[{}@|]", text)] == []
    for key, english in texts("en").items():
        assert sorted(re.findall(r"{\w+}", texts(language)[key])) == sorted(re.findall(r"{\w+}", english)), key


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_nothing_is_left_in_english(language: str) -> None:
    same = {key: text for key, text in texts(language).items() if text == texts("en")[key]}
    names = SYMBOLS | SAME_WORD.get(language, set())
    assert {key: text for key, text in same.items() if not (key.endswith(".name") and text in names)} == {}
    if language in CJK:
        foreign = {key: text for key, text in texts(language).items() if not re.search(CJK[language], text)}
        assert set(foreign.values()) <= SYMBOLS, foreign
    else:
        assert [text for text in texts(language).values() if re.search(r"\b(the|and|with|from|of)\b", text)] == []


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_what_the_page_shows_untranslated_keeps_its_name(language: str) -> None:
    for key, english in texts("en").items():
        for word in (match.group().strip("'") for match in LITERAL.finditer(english)):
            assert word in texts(language)[key], f"{language} {key}: {word}"
    for key, options in {"face": ("largest", "all", "number", "point"), "silence": ("close", "keep", "generate"),
                         "channel": ("mix", "left", "right")}.items():
        for name, text in texts(language).items():
            if name.endswith(f".inputs.{key}.tooltip"):
                assert all(re.search(rf"\b{option}\b", text) for option in options), f"{language} {name}: {options}"


@cache
def glossary() -> dict[str, dict[str, list[str]]]:
    """Term: language: how it may begin there, as locales/README.md has it."""
    lines = [line for line in (ROOT / "locales" / "README.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {term: {language: cell.split(", ") for language, cell in zip(head[1:], cells)} for term, *cells in rows}


def test_a_term_has_one_translation() -> None:
    assert len(glossary()) > 10 and all(set(forms) == set(LANGUAGES[1:]) for forms in glossary().values())
    for term, forms in glossary().items():
        for key, english in texts("en").items():
            if not re.search(rf"\b{term.removesuffix('s')}s?\b", OTHERS_NAMES.sub("", english), re.IGNORECASE):
                continue
            for language, begins in forms.items():
                text = texts(language)[key].lower()
                assert any(begin.lower() in text for begin in begins), f"{language} {key}: {term!r} is {begins}, in: {text}"


# -- help pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", sorted(schemas()))
def test_every_node_has_a_help_page(node: str) -> None:
    page = (ROOT / "web" / "docs" / f"{node}.md").read_text("utf-8")
    schema = schemas()[node]
    assert page.startswith(f"# {schema['display_name']}\n")
    named = set(re.findall(r"`([^`]+)`", page))
    assert {*schema["inputs"], *(one["name"] for one in schema["outputs"].values())} <= named
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures, "a picture of the node"
    for picture in pictures:
        # Relative: the frontend puts the address of the pack's own folder before it, whatever the folder is called.
        file = ROOT / "web" / "docs" / picture
        assert not re.match(r"/|https?:", picture) and file.is_file() and file.stat().st_size <= PICTURE_BYTES, picture


def test_no_picture_is_left_over() -> None:
    used = {name for page in (ROOT / "web" / "docs").glob("*.md") for name in re.findall(r"\]\((img/[^)]+)\)", page.read_text("utf-8"))}
    assert {f"img/{file.name}" for file in (ROOT / "web" / "docs" / "img").iterdir()} == used
