"""Names of generated text: none of a program's is taken for another, whatever a program calls things."""

import ast
import re
from pathlib import Path

import pytest
import torch

import rnndsl
from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS
from rnndsl.emit.naming import RESERVED
from rnndsl.runtime import build
from tests import alpha, harvest, renaming
from tests.renaming import CELLS

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = [*(ROOT / "templates" / "cpp").glob("*"), *(ROOT / "templates" / "triton").glob("*")]
HEADERS = [*(ROOT / "rnndsl" / "runtime" / "cpp").glob("*.h"), *(p for p in (ROOT / "rnndsl" / "runtime" / "triton").glob("*.py") if "@triton.jit" in p.read_text())]

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C++ compiler")


# The text


@pytest.mark.one_in(5)
@pytest.mark.parametrize("name", CELLS)
def test_other_names_give_the_same_text(name):
    """A cell whose names are identifiers of generated text, its own among them, gives the same text but for its names: in no function does
    a name stand for two things, or a name of the program for something that is not of the program."""
    text = CELLS[name]
    number = list(CELLS).index(name)
    names = harvest.assignments(text, number)[number % 4]
    assert renaming.clashes_of(text, names) == [], names


@pytest.mark.parametrize("name", list(CELLS)[::6])
def test_names_of_programs_have_a_place_of_their_own(name):
    """What a kernel's text calls by another name in a cell of other names is in the space of names that end in `_` or have two in a row;
    what Python's text calls the same is reserved."""
    text = CELLS[name]
    other = {n: f"{n}{i}q" for i, n in enumerate(harvest.roles_of(text))}
    before, after = harvest.texts_of(text), harvest.texts_of(harvest.renamed(text, other))
    for language, space in (("cpp", r"\w*[a-z0-9]_|\w+_(forward|backward|outers|shapes|further|saves|segment)"), ("triton", r"\w*[a-z0-9]_(_[a-z_]+)?")):
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


def test_what_is_made_of_names_is_made_once():
    """Kernels' names of what belongs to a name are made by a word behind it. The words behind a recurrence's name, which stands for what a file of
    Triton defines, are none of those behind the name of a value in a function."""
    of_files: set[str] = set()
    of_values: set[str] = set()
    for name in ("para_lstm", "lif", "lru", "min_gru", "zoo/rkn", "zoo/mlstm", "zoo/gla"):
        tree = ast.parse(harvest.texts_of(CELLS[name])["triton"])
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        defined |= {node.id for statement in tree.body if isinstance(statement, ast.Assign) for node in ast.walk(statement.targets[0]) if isinstance(node, ast.Name)}
        used = {node.id if isinstance(node, ast.Name) else node.arg for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.arg))}
        of_files |= {n.split("__")[1] for n in defined if "__" in n}
        of_values |= {n.split("__")[1] for n in used - defined if "__" in n}
    assert len(of_files) > 15 and len(of_values) > 10
    assert not of_files & of_values


# The numbers


@pytest.mark.parametrize("name", ["lif", "zoo/sru", "zoo/gru_d", "slstm"])
def test_other_names_give_the_same_numbers_on_the_reference(name):
    for names in harvest.assignments(CELLS[name])[2:]:
        assert renaming.differences(CELLS[name], names, "reference") == [], names


@needs_compiler
@pytest.mark.parametrize(("name", "way"), [("zoo/sru", 0), ("rhn", 3), ("lru", 2)])
def test_other_names_give_the_same_numbers_in_cpp(name, way):
    names = harvest.assignments(CELLS[name])[way]
    assert renaming.differences(CELLS[name], names, "cpu") == [], names


@pytest.mark.parametrize(("name", "way"), [("para_lstm", 3), ("zoo/sru", 1), ("lru", 2)])
def test_other_names_give_the_same_numbers_in_triton(name, way):
    pytest.importorskip("triton")
    names = harvest.assignments(CELLS[name])[way]
    assert renaming.differences(CELLS[name], names, "triton") == [], names


# Names that were taken for others once

CAPTURED = {
    "the pointer of a made-up value": """
  input x: [H]
  state g: [H]
  param v_r: [H]
  g[t] = 0.5 * g[t-1] + mod(t, 3) * v_r
  output y = g[t] + x
""",
    "the same, backwards, with a start that is learned": """
  input x: [H]
  state offset: [H] = w28
  param w28: []
  param b9, v_r, L1: [H]
  offset[t] = 0.5 * (offset[t-1] + mod(mod(t, 3) + 0.37, 1.3 + sigmoid(sin(0.3*t))) * sigmoid(where((b9 > 0.15) * (v_r < 0.7), 0.2 + L1, 0.1)))
  output offset, x
""",
    "two recurrences whose states' names are one when joined": """
  input x: [H]
  state h, c, h_c: [H]
  h[t] = 0.5 * h[t-1] + tanh(c[t-1]) + x
  c[t] = 0.3 * c[t-1] - h[t]
  h_c[t] = 0.1 * h_c[t-1] + 2 * x
  output h, c, h_c
""",
    "a method of every layer": """
  input x: [H]
  state by_kernel: [H]
  by_kernel[t] = tanh(0.5 * by_kernel[t-1] + x)
  output by_kernel
""",
    "what the plan calls an equation of a state": """
  input x: [H]
  state h, b: [H]
  z = x * 2 + 1
  update = sigmoid(z)
  h[t] = 0.5 * h[t-1] + update
  b[t] = tanh(z)
  output h, b
""",
    "where a file of kernels imports": """
  input x: [H]
  state h: [H]
  param functions: [H]
  h[t] = tanh(functions * h[t-1] + x)
  output h
""",
}


@pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
@pytest.mark.parametrize("what", CAPTURED)
def test_is_not_taken_for(what, backend):
    text = "cell Q(H):\n" + CAPTURED[what].lstrip("\n")
    if backend == "cpu" and build.compiler() is None:
        pytest.skip("there is no C++ compiler")
    plain = {n: f"plain{i}" for i, n in enumerate(harvest.roles_of(text)) if n != "H"}
    assert renaming.differences(harvest.renamed(text, plain), {v: k for k, v in plain.items()}, backend) == []


@needs_compiler
@pytest.mark.parametrize("size", ["time", "h_forward", "RAND_MAX"])
def test_a_size_is_called_as_something_of_c(size):
    text = f"cell Q({size}):\n  input x: [{size}]\n  state h: [{size}]\n  h[t] = 0.5 * h[t-1] + x\n  output h\n"
    assert renaming.differences(text.replace(size, "H"), {"H": size}, "cpu") == []


def test_a_cell_of_a_standalone_module_is_called_as_something_of_the_runtime(tmp_path):
    standalone = rnndsl.compile("cell C(H):\n input x: [H]\n output x\n", standalone=True)
    private = set(re.findall(r"(?m)^(?:class |def )?(_[a-zA-Z]\w*)", standalone))
    assert len(private) > 3
    for name in sorted(private):
        text = rnndsl.compile(f"cell {name}(H):\n input x: [H]\n state h: [H]\n h[t] = 0.5 * h[t-1] + x\n output h\n", standalone=True)
        module: dict = {"__name__": "standalone"}
        exec(compile(text, "standalone.py", "exec"), module)
        layer = module[name](3, dtype=torch.float64)
        y, _ = layer(torch.ones(2, 2, 3, dtype=torch.float64))
        assert y[0, 1, 0] == 1.5 and layer.bfloat16()(torch.ones(2, 2, 3, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
        with pytest.raises(ValueError, match="x: expected"):
            layer(torch.ones(2, 2, 4))
