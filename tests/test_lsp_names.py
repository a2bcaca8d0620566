"""What the language server does with names: places, new names, symbols; and quick fixes, which the compiler has tried."""

import random

import pytest

import rnndsl
from rnndsl.diagnostics import Source, Span
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.fixes import fixes
from rnndsl.tools.lsp.outline import outline
from rnndsl.tools.lsp.references import CannotRename, occurrences, renamed
from tests.test_lsp import GRU, URI, Editor, applied, editor, place  # noqa: F401
from tests.zoo_cells import ZOO

TEXT = """def f(z) = tanh(z) * z
cell A(D, H, dt = 0.1):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param normal: [H] ~ normal(1)
  noise m: [H] ~ bernoulli(0.9) once
  z = f(W @ x) + normal * m
  h[t] = (1 - dt) * h[t-1] + dt * z
  output z = z + h[t], h
cell B(H):
  input x: [H]
  z = f(x)
  output y = f(z)
"""


def at(word: str, nth: int = 0) -> int:
    """The offset of the n-th place where a text stands."""
    start = -1
    for _ in range(nth + 1):
        start = TEXT.index(word, start + 1)
    return start


def lines(spans: list[Span]) -> list[int]:
    return [Source("", TEXT).line_of(s.start) for s in spans]


@pytest.mark.parametrize(
    ("offset", "found"),
    [
        (at("z", 0), [1, 1, 1]),  # an argument of the function
        (at("f(z)"), [1, 8, 13, 14]),  # the function
        (at("z = f(W"), [8, 9, 10]),  # a local, and not the output of that name
        (at("z = z + h"), [10]),  # the output
        (at("h[t-1]"), [4, 9, 9, 10, 10]),
        (at("x: [D]"), [3, 8]),  # not the other cell's
        (at("H, dt"), [2, 4, 5, 6, 7]),
        (at("normal:"), [6, 8]),  # not the initialiser
        (at("tanh"), []), (at("once"), []), (at("[t]") + 1, []), (at("input"), []), (at("0.9"), []),
    ],
)  # fmt: skip
def test_places_of_a_name(offset, found):
    assert lines(occurrences(outline(Source("", TEXT)), offset)) == found


@pytest.mark.parametrize(
    ("offset", "name", "why"),
    [
        (at("W:"), "2a", "not a name"), (at("W:"), "tanh", "meaning of its own"), (at("W:"), "t", "meaning of its own"), (at("W:"), "h", "already"),
        (at("W:"), "forward", "cannot be named"), (at("D, H"), "self", "constructor"), (at("f(z)"), "z", "already"), (at("W:"), "f", "already"),
        (at("tanh"), "q", "no name of the program"), (at("cell A") + 5, "B", "already"),
    ],
)  # fmt: skip
def test_names_that_cannot_be(offset, name, why):
    with pytest.raises(CannotRename, match=why):
        renamed(outline(Source("", TEXT)), offset, name)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ZOO)
def test_renaming_there_and_back(name):
    """Every name of a published cell: the program stays right, and is what it was when it is renamed back."""
    text = ZOO[name].text
    found = outline(Source("", text))
    symbols = [s for i in found.items for s in (i.symbol, *i.names.values())]
    for symbol in random.Random(0).sample(symbols, min(len(symbols), 6)):
        new = text
        for span in sorted(renamed(found, symbol.span.start, "quite_new"), reverse=True):
            new = new[: span.start] + "quite_new" + new[span.end :]
        assert rnndsl.check(new) == []
        again = outline(Source("", new))
        back = new
        for span in sorted(renamed(again, new.index("quite_new"), symbol.name), reverse=True):
            back = back[: span.start] + symbol.name + back[span.end :]
        assert back == text and symbol.span in occurrences(found, symbol.span.start)




@pytest.mark.parametrize(
    ("right", "wrong", "fixed"),
    [
        ("input x: [D]", "input x: (D)", "input x: [D]"), ("input x: [D]", "input x: [B, T, D]", "input x: [D]"), ("tanh(", "tahn(", "tanh("),
        ("state h: [H]", "state h: (H) = 0", "state h: [H] = 0"), ("output h\n", "output h[t]\n", "output h\n"), ("W @ x", "W ⊙ x", "W * x"),
        ("[H, D]", "[H, E]", "cell Cell(D, H, E, dt = 1.0):"), ("output h\n", "", "  output h"), ("h[t-1]", "h", "h[t-1]"), ("h[t-1]", "h_prev", "h[t-1]"),
        ("  z = W @ x\n  h[t] = z", "  h[t] = z\n  z = W @ x", "  z = W @ x + dt * tanh(h[t-1])\n  h[t] = z\n"),
    ],
)  # fmt: skip
def test_fixes(right, wrong, fixed):
    text = "cell Cell(D, H, dt = 1.0):\n  input x: [D]\n  state h: [H]\n  param W: [H, D]\n  z = W @ x\n  h[t] = z + dt * tanh(h[t-1])\n  output h\n"
    assert right in text and rnndsl.check(text) == []
    broken = text.replace(right, wrong)
    document = Document("c.rnn", broken)
    found = fixes(document, document.problems[0])
    after = [broken[: f.span.start] + f.text + broken[f.span.end :] for f in found]
    assert after and fixed in after[0] and len(set(after)) == len(after)
    assert all(f.title in document.problems[0].hints for f in found)


def test_what_is_no_proposal_is_not_offered():
    for text in ("cell A(64, 128):\n  output x\n", "cell A(H):\n  input x: [H]\n  output y = x if x else 0\n", "cell A(H):\n  input x: [H]\n  a, b = x, x\n  output a\n"):
        document = Document("c.rnn", text)
        assert [f.text for d in document.problems for f in fixes(document, d)] == []


def ask(editor, what: str, line: int, character: int, **more):  # noqa: F811
    return editor.ask(f"textDocument/{what}", {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}, **more})


def test_an_editor_renames_and_fixes(editor):  # noqa: F811
    assert editor.show(GRU) == []
    line, character = place(GRU, "W_r @")
    found = ask(editor, "references", line, character, context={"includeDeclaration": True})
    assert len(found) == 2 and len(ask(editor, "references", line, character, context={"includeDeclaration": False})) == 1
    assert len(ask(editor, "documentHighlight", line, character)) == 2
    assert ask(editor, "prepareRename", line, character) == {"start": {"line": line, "character": character}, "end": {"line": line, "character": character + 3}}
    assert ask(editor, "prepareRename", *place(GRU, "sigmoid")) is None
    edits = ask(editor, "rename", line, character, newName="W_reset")["changes"][URI]
    assert applied(GRU, edits) == GRU.replace("W_r,", "W_reset,").replace("W_r @", "W_reset @")
    with pytest.raises(AssertionError, match="meaning of its own"):
        ask(editor, "rename", line, character, newName="tanh")
    (symbol,) = editor.ask("textDocument/documentSymbol", {"textDocument": {"uri": URI}})
    assert symbol["name"] == "GRU" and {c["name"] for c in symbol["children"]} >= {"D", "H", "x", "h", "W_r", "R_n", "z"}
    broken = GRU.replace("sigmoid(W_z", "sigmod(W_z")
    (problem,) = editor.change(broken)
    params = {"textDocument": {"uri": URI}, "range": problem["range"], "context": {"diagnostics": [problem]}}
    (action,) = editor.ask("textDocument/codeAction", params)
    assert action["kind"] == "quickfix" and action["title"] == "did you mean `sigmoid`?" and action["diagnostics"] == [problem]
    assert applied(broken, action["edit"]["changes"][URI]) == GRU
    assert editor.change(GRU) == []
