"""The corpus of wrong programs: each gives exactly the text beside it. `pytest --accept` writes new texts."""

import re
from pathlib import Path

import pytest

from rnndsl.api import check, read_source
from rnndsl.diagnostics import Diagnostic, Related, RnnError, Source, Span
from rnndsl.report import as_data, render

WRONG = Path(__file__).parent / "wrong"
PROGRAMS = sorted(p.stem for p in WRONG.glob("*.rnn"))


def rendered(path: Path) -> str:
    """Every diagnostic of a program as its user sees them."""
    found = check(path)
    try:
        source = read_source(path)
    except RnnError as e:
        source = e.source
    return "\n\n".join(render(d, source) for d in found) + "\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_its_text(name, accept):
    text = rendered(WRONG / f"{name}.rnn")
    golden = WRONG / f"{name}.txt"
    if accept:
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_wrong_program_is_told():
    assert len(PROGRAMS) >= 300
    for name in PROGRAMS:
        assert (WRONG / f"{name}.txt").read_text(encoding="utf-8").startswith(("error[", "warning["))


def test_no_text_without_its_program():
    assert sorted(p.stem for p in WRONG.glob("*.txt")) == PROGRAMS


def test_messages_are_rarely_generic():
    """`… cannot stand here` is the fallback: everything that people do has words of its own."""
    assert [n for n in PROGRAMS if "error[syntax]" in (WRONG / f"{n}.txt").read_text(encoding="utf-8")] == []


# The renderer

LINE = Source("a.rnn", "one two three four\nfive\n")


def shown(*marks: tuple[str, str], hint: str = "") -> list[str]:
    """The rows below the source line for labelled words, the first being the place itself."""
    spans = [(Span(LINE.text.index(word), LINE.text.index(word) + len(word)), label) for word, label in marks]
    (span, label), *others = spans
    d = Diagnostic("code", "title", span, label, tuple(Related(s, t) for s, t in others))
    text = render(d, LINE)
    assert text.splitlines()[3] == "1 | one two three four"
    return [row.removeprefix("  | ").removeprefix("  |") for row in text.splitlines()[4:]]


def test_one_mark():
    assert shown(("two", "here")) == ["    ^^^ here"]


def test_marks_share_a_row():
    assert shown(("three", "here"), ("one", "")) == ["---     ^^^^^ here"]


def test_labels_hang_below_their_marks():
    assert shown(("three", "here"), ("one", "first")) == ["---     ^^^^^ here", "|", "first"]
    assert shown(("one", "here"), ("three", "third")) == ["^^^     ----- third", "|", "here"]
    assert shown(("four", "here"), ("one", "first"), ("two", "second")) == [
        "--- ---       ^^^^ here", "|   |", "|   second", "first",
    ]  # fmt: skip


def test_marks_that_overlap_take_rows_of_their_own():
    assert shown(("two", "here"), ("two three", "whole")) == ["    ^^^ here", "    --------- whole"]


def test_marks_on_several_lines():
    rows = shown(("two", "here"), ("five", "there"))
    assert rows == ["    ^^^ here", "2 | five", "---- there"]


def test_colours_change_nothing_else():
    for name in PROGRAMS[::10]:
        path = WRONG / f"{name}.rnn"
        try:
            source = read_source(path)
        except RnnError as e:
            source = e.source
        for d in check(path):
            coloured = render(d, source, colour=True)
            assert re.sub(r"\033\[[\d;]*m", "", coloured) == render(d, source)


def test_data_has_the_places():
    source = Source("a.rnn", "cell A(H):\n  input x: [H]\n  output y = x + z\n")
    (d,) = check(source.text)
    data = as_data(d, source)
    assert (data["line"], data["column"], data["end_line"], data["end_column"]) == (3, 18, 3, 19)
    assert data["code"] == "undefined" and data["severity"] == "error" and data["hints"]
