"""Names of generated text: none of a program's is taken for another, whatever a program calls things."""

import re
from pathlib import Path

import pytest

from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS
from rnndsl.emit.naming import RESERVED
from rnndsl.runtime import build
from tests import alpha, harvest, renaming
from tests.renaming import CELLS

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = [*(ROOT / "templates" / "cpp").glob("*"), *(ROOT / "templates" / "triton").glob("*")]
HEADERS = [*(ROOT / "rnndsl" / "runtime" / "cpp").glob("*.h"), ROOT / "rnndsl" / "runtime" / "triton" / "functions.py"]

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")


# The text


@pytest.mark.parametrize("name", CELLS)
def test_other_names_give_the_same_text(name):
    """A cell whose names are identifiers of generated text, its own among them, gives the same text but for its names: in no function does
    a name stand for two things, or a name of the program for something that is not of the program."""
    text = CELLS[name]
    number = list(CELLS).index(name)
    before = harvest.texts_of(text)
    names = harvest.assignments(text, number)[number % 4]
    after = harvest.texts_of(harvest.renamed(text, names))
    for language in before:
        assert alpha.clashes(language, before[language], after[language]) == [], names


@pytest.mark.parametrize("name", list(CELLS)[::4])
def test_names_of_programs_have_a_place_of_their_own(name):
    """What a kernel's text calls by another name in a cell of other names is in the space of names that end in `_` or have two in a row;
    what Python's text calls the same is reserved."""
    text = CELLS[name]
    other = {n: f"{n}{i}q" for i, n in enumerate(harvest.roles_of(text))}
    before, after = harvest.texts_of(text), harvest.texts_of(harvest.renamed(text, other))
    for language, space in (("cpp", r"\w*[a-z0-9]_|\w+_(forward|backward|slices|outers)"), ("triton", r"\w*[a-z0-9]_(_[a-z_]+)?")):
        for mine, theirs in zip(*(alpha.functions(language, t[language]).values() for t in (before, after)), strict=True):
            for a, b in zip(mine, theirs, strict=True):
                assert a == b or re.fullmatch(space, a, re.I), a
    for mine, theirs in zip(*(alpha.functions("python", t["python"]).values() for t in (before, after)), strict=True):
        fixed = {a for a, b in zip(mine, theirs, strict=True) if a == b and a.isidentifier()}
        made = {n for n in fixed if re.fullmatch(r"_|(t|parts)(_\w+)?", n)}  # of no name of the program, but by the namer
        assert fixed - made <= RESERVED | CONSTRUCTOR_ARGUMENTS, name


def test_no_word_of_a_template_or_header_is_in_the_place_of_programs():
    for path in (*TEMPLATES, *HEADERS):
        text = re.sub(r"\w*\{\{.*?\}\}\w*|\{%.*?%\}|\{#.*?#\}", " ", path.read_text(encoding="utf-8"), flags=re.S)
        assert [w for w in harvest.identifiers(text) if re.fullmatch(r"[a-zA-Z0-9]\w*_", w) or "__" in w.strip("_")] == [], path.name


def test_what_templates_make_of_names_is_made_once():
    """A template makes a name of another by a word behind it. The words behind a recurrence's name, which stands for functions of a file, are
    none of those behind the name of a value in a function."""
    words: dict[bool, set[str]] = {True: set(), False: set()}
    for path in TEMPLATES:
        for of, word in re.findall(r"\{\{ (\w)(?:\.name|\.array)? \}\}_(\w+)", path.read_text(encoding="utf-8")):
            words[of == "r"].add(word)
    functions = {"step", "coefficients", "linear", "slopes", "pullback", "kernels"}  # that Python makes
    assert len(words[True]) > 8 and len(words[False]) > 25
    assert not (words[True] | functions) & words[False]


# The numbers


@pytest.mark.parametrize("name", ["elman", "lif", "zoo/sru", "zoo/gru_d", "zoo/kalman", "zoo/rhn", "slstm", "lru"])
def test_other_names_give_the_same_numbers_on_the_reference(name):
    for names in harvest.assignments(CELLS[name])[2:]:
        assert renaming.differences(CELLS[name], names, "reference") == [], names


@needs_compiler
@pytest.mark.parametrize(("name", "way"), [("zoo/sru", 0), ("rhn", 3), ("slstm", 2), ("zoo/fastgrnn", 1), ("lru", 3)])
def test_other_names_give_the_same_numbers_in_cpp(name, way):
    names = harvest.assignments(CELLS[name])[way]
    assert renaming.differences(CELLS[name], names, "cpu") == [], names


@pytest.mark.parametrize(("name", "way"), [("para_lstm", 3), ("lif", 0), ("zoo/sru", 1), ("lru", 2), ("zoo/kalman", 3)])
def test_other_names_give_the_same_numbers_in_triton(name, way):
    pytest.importorskip("triton")
    names = harvest.assignments(CELLS[name])[way]
    assert renaming.differences(CELLS[name], names, "triton") == [], names
