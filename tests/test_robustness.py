"""Nothing that a file contains gives a traceback, a hang, or runs as code."""

import ast as python_ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnndsl
from rnndsl import api
from rnndsl.checks.attributes import CONSTRUCTOR_ARGUMENTS, LAYER_ATTRIBUTES, MODULE_NAMES
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.report import as_data, render
from rnndsl.tools.bench.limit import time_limit
from tests.choice import some
from tests.work import calls

ROOT = Path(__file__).parent.parent
HEAD = "cell A(D, H):\n  input x: [D]\n  state h: [D]\n  param W: [D, D]\n"


def with_value(expression: str) -> str:
    return f"{HEAD}  h[t] = {expression}\n  output h\n"


def outcome(text: str) -> list[Diagnostic]:
    """What check says; every message renders, and where there is no error the module is Python."""
    found = api.check(text, "a.rnn") if not text.endswith(".rnn") else []
    source = Source("a.rnn", api.normalised(text))
    for d in found:
        assert all(line == line.rstrip("\n") for line in render(d, source).split("\n"))
        render(d, source, colour=True)
        json.dumps(as_data(d, source))
    if not any(d.severity == "error" for d in found):
        try:
            compile(api.compile(text, "a.rnn"), "a.py", "exec")
        except RnnError as e:
            assert [d.code for d in e.diagnostics] == ["no-cell"]
    return found


def codes(text: str) -> list[str]:
    return [d.code for d in outcome(text) if d.severity == "error"]


# Size and depth

CHAIN = "".join(f"def f{i}(x) = f{i - 1}(f{i - 1}(x))\n" for i in range(1, 41))
LARGE = {
    "parentheses": (with_value("(" * 5000 + "x" + ")" * 5000), "too-deep"),
    "brackets": (with_value("W[" * 5000 + "1" + "]" * 5000), "too-deep"),
    "open parentheses": (with_value("(" * 5000), "too-deep"),
    "closing parentheses": (with_value("x" + ")" * 5000), "unbalanced"),
    "calls": (with_value("tanh(" * 5000 + "x" + ")" * 5000), "too-deep"),
    "minus": (with_value("-" * 10_000 + "x"), "too-deep"),
    "sum": (with_value(" + ".join(["x"] * 5000)), "too-deep"),
    "product": (with_value(" * ".join(["x"] * 5000)), "too-deep"),
    "matrix product": (with_value(" @ ".join(["W"] * 5000) + " @ x"), "too-deep"),
    "powers": (with_value("^".join(["x"] * 5000)), "too-deep"),
    "transposes": (with_value("W" + ".T" * 5000 + " @ x"), "too-deep"),
    "a line of 1 MB": (with_value(" + ".join(["x"] * 250_000)), "too-large"),
    "a name of 1 MB": (with_value("y" * 1_000_000), "undefined"),
    "comments of 1 MB": ("# a comment\n" * 90_000 + with_value("x"), None),
    "a comment of 1 MB": ("# " + "a" * 1_000_000 + "\n" + with_value("x"), None),
    "a million newlines": ("\n" * 1_000_000 + with_value("x"), None),
    "1000 cells": ("".join(with_value("tanh(W @ x)").replace("cell A", f"cell A{i}") for i in range(1000)), None),
    "1000 functions": ("".join(f"def f{i}(x) = tanh(x)\n" for i in range(1000)) + with_value("f1(x)"), None),
    "5000 params": (HEAD + "".join(f"  param p{i}: [D]\n" for i in range(5000)) + "  h[t] = x\n  output h\n", None),
    "3000 locals": (HEAD + "  z0 = x\n" + "".join(f"  z{i} = tanh(z{i - 1})\n" for i in range(1, 3000)) + "  h[t] = z2999\n  output h\n", None),
    "3000 undefined names": (HEAD + "".join(f"  z{i} = y{i}\n" for i in range(3000)) + "  h[t] = x\n  output h\n", "undefined"),
    "3000 consts": (
        HEAD + "".join(f"  const c{i}: [] = c{i + 1}\n" for i in range(3000)) + "  const c3000: [] = 1\n  h[t] = c0 * x\n  output h\n",
        None,
    ),
    "5000 bad characters": (with_value("$" * 5000), "character"),
    "5000 lines of them": (HEAD + "  $\n" * 5000, "character"),
    "5000 wrong lines": (HEAD + "  end\n" * 5000, "stray-end"),
    "5000 docstrings": (HEAD + '  "a"\n' * 5000, "late-docstring"),
    "functions that double": ("def f0(x) = tanh(x) + x\n" + CHAIN + with_value("f40(x)"), "too-large"),
    "functions that nest": ("def f0(x) = x\n" + CHAIN.replace("f1(f1(x))", "f1(x)") + with_value("f40(x)"), "too-large"),
    "functions of each other": (
        "".join(f"def f{i}(x) = {' + '.join(f'f{j}(x)' for j in range(30))}\n" for i in range(30)) + with_value("x"),
        "recursion",
    ),
    "a size with a million terms": ("cell A(D, E):\n  input x: [((D + E + 1)^8)^8]\n  output x\n", "not-a-size"),
    "a large size": ("cell A(D):\n  input x: [99999999999999999999]\n  output x\n", "not-a-size"),
    "large numbers": (with_value("x * 1e999999 * 9^9^9^9^9 * " + "9" * 5000), None),
    "NUL": (with_value("x") + "\0" * 5000, "character"),
}  # fmt: skip


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", LARGE)
def test_large_programs(name):
    text, code = LARGE[name]
    with time_limit(120):
        found = codes(text)[:1]
    assert found == [code][: code is not None]


def test_messages_stay_short():
    (error,) = (d for d in outcome(with_value("y" * 100_000)) if d.severity == "error")
    assert len(render(error, Source("a.rnn", with_value("y" * 100_000)))) < 3000


@pytest.mark.parametrize("unit", ["  z{i} = tanh(W @ x) + h[t-1]\n", "  param q{i}: [D]\n", "  y{i} = u{i}\n", "  # z\n\n"])
def test_work_is_linear(unit):
    """Eight times the text is about eight times the work."""

    def work(n: int) -> int:
        text = HEAD + "".join(unit.format(i=i) for i in range(n)) + "  h[t] = x\n  output h\n"
        return calls(lambda: api.check(text))

    work(10)
    assert work(1200) < 10 * work(150)


# Bytes


@pytest.mark.parametrize("data", [b"\xff\xfe", b"cell A(D):\n \xe9", b"\x80" * 1000, "cell A(D):\n".encode("utf-16"), bytes(range(256))])
def test_bytes_that_are_no_text(data, tmp_path):
    path = tmp_path / "a.rnn"
    path.write_bytes(data)
    with pytest.raises(RnnError) as caught:
        api.read_source(path)
    (error,) = caught.value.diagnostics
    assert error.code == "encoding" and "UTF-8" in str(caught.value)
    assert [d.code for d in api.check(path)] == ["encoding"]


# Docstrings

DOCS = [
    "{{ 1 + 1 }}", "{% raw %}", "{# no #}", "a \\ b", "ends with \\", "\\n \\x \\u12 \\N{DOLLAR}", "it's", "'''", "''' + boom() + '''",
    "a\ttab", "%s %(a)s {0} {x}", "ünïcödé 細胞 😀", "# no comment", "\x0c\x0b\x1c\x1d\x00"[:-1],
    "",
]  # fmt: skip
LONG_DOCS = [*DOCS, 'say "hi" ', 'a ""quoted"" word', 'over\nlines\n\n  """'[:-3], 'ends with "x"\n', "\n\nboom()\n"]


@pytest.mark.parametrize(("quote", "doc"), [('"', d) for d in DOCS] + [('"""', d) for d in LONG_DOCS])
def test_docstrings_are_text(quote, doc):
    text = f"cell A(D):\n  {quote}{doc}{quote}\n  input x: [D]\n  output x\n"
    assert outcome(text) == []
    module = api.compile(text)
    tree = python_ast.parse(module)
    (cell,) = (n for n in tree.body if isinstance(n, python_ast.ClassDef) and n.name == "A")
    shown = python_ast.get_docstring(cell, clean=False) or ""
    words = [w for w in doc.replace('"""', "").split() if w.isprintable()]
    assert all(word in shown for word in words)
    assert "boom" not in {n.id for n in python_ast.walk(tree) if isinstance(n, python_ast.Name)}
    assert rnndsl.load(text).A(D=2)(torch.zeros(1, 2, 2))[0].shape == (1, 2, 2)


# Names

NAMES = """
__import__ __class__ __name__ __dict__ _ __ self cls torch ops F nn np math float int str len list print type object super range tuple
lambda None True False class def_ async await yield beta gamma N S I E Q tl exp2 kind lead params scan B T D State input_ inputs states
layer module forward step reset out y x0 h0 result value i j k n z zip map sum_ e Tensor Parameter NamedTuple Any Callable dataclass
annotations rnndsl runtime backend schedule device dtype size steps batch carry local_ h_t h_1 h1 x_1 _h a__b match case
""".split()


def cell_with(role: str, names: list[str]) -> str:
    """A cell in which names have one role, and the value `total` depends on each."""
    declared = ", ".join(names)
    total = " + ".join(f"{i + 1} * {n}{'[t-1]' if role == 'state' else ''}" for i, n in enumerate(names))
    lines = {
        "input": [f"input {declared}: [H0]"],
        "state": [f"state {declared}: [H0]", *(f"{n}[t] = 0.5 * {n}[t-1] + x" for n in names)],
        "param": [f"param {declared}: [H0]"],
        "const": [f"const {declared}: [H0] = 2"],
        "noise": [f"noise {declared}: [H0] ~ bernoulli(0.5)"],
        "local": [f"{n} = {i + 1} * x" for i, n in enumerate(names)],
        "output": [],
        "size": [],
        "hyper": [],
        "counter": [line for n in names for line in (f"repeat {n} in 1..2:", f"v_{n} = x * {n}", "end")],
    }[role]
    header = "H0"
    if role == "size":
        header, total = f"H0, {declared}", " + ".join(f"sum(ones({n}))" for n in names)
    elif role == "hyper":
        header += "".join(f", {n} = 0.5" for n in names)
    elif role == "counter":
        total = " + ".join(f"v_{n}" for n in names)
    elif role == "output":
        total = "x"
    outputs = [f"output {n} = total" for n in names] if role == "output" else ["output result0 = total"]
    return "\n  ".join([f"cell A({header}):", "input x: [H0]", *lines, f"total = x + {total}", *outputs]) + "\n"


def run(text: str, role: str, names: list[str]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    sizes = {n: i + 1 for i, n in enumerate(names)} if role == "size" else {}
    layer = rnndsl.load(text).A(H0=3, **sizes).eval()
    torch.manual_seed(1)
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(2, 4, 3)
    y, state = layer(x, *([torch.randn(2, 4, 3) for _ in names] if role == "input" else []))
    return [*(y if isinstance(y, tuple) else (y,)), *state]


@pytest.mark.parametrize("role", ["input", "state", "param", "const", "noise", "local", "output", "size", "hyper", "counter"])
def test_names_never_clash(role):
    refused = set()
    if role in ("param", "const"):
        refused = LAYER_ATTRIBUTES | {"__import__", "__name__", "__slots__", "__getnewargs__", "__torch_function__"}
    elif role in ("size", "hyper"):
        import keyword

        refused = CONSTRUCTOR_ARGUMENTS | {n for n in NAMES if keyword.iskeyword(n) or n.startswith("__")}
    for name in sorted(refused):
        assert set(codes(cell_with(role, [name]))) in ({"attribute-clash"}, {"constructor-name"}), name
    assert codes(cell_with(role, sorted({*NAMES} - refused))) == []
    names = [n for n in NAMES if n not in refused][:60]
    plain = [f"plain{i:03d}" for i in range(len(names))]
    got, expected = run(cell_with(role, names), role, names), run(cell_with(role, plain), role, plain)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_functions_and_arguments_never_clash():
    names = [n for n in NAMES if n != "x0"]
    text = "".join(f"def {n}({m}) = 2 * {m}\n" for n, m in zip(names, reversed(names), strict=True))
    text += f"cell Cell0(H0):\n  input x: [H0]\n  output y0 = {' + '.join(f'{n}(x)' for n in names)}\n"
    y, _ = rnndsl.load(text).Cell0(H0=2)(torch.ones(1, 1, 2))
    torch.testing.assert_close(y, torch.full((1, 1, 2), 2.0 * len(names)))


def test_cells_have_any_name():
    names = [
        "torch", "F", "ops", "Any", "NamedTuple", "Output", "State", "float", "int", "len", "print", "type", "object", "property",
        "super", "range", "A", "AState", "AOutput", "A_State", "Layer", "tuple", "nn", "rt", "runtime", "annotations", "Cell",
    ]  # fmt: skip
    one = "cell {n}(H):\n  input x: [H]\n  state h: [H]\n  h[t] = h[t-1] + x\n  output h, y = x\n"
    text = "".join(one.format(n=n) for n in names)
    errors = [d for d in outcome(text) if d.severity == "error"]
    assert {d.code for d in errors} == {"reserved"}
    needed = {Source("a.rnn", text).slice(d.span) for d in errors}
    assert needed == MODULE_NAMES & set(names)
    names = [n for n in names if n not in needed]
    module = rnndsl.load("".join(one.format(n=n) for n in names))
    for name in names:
        y, state = getattr(module, name)(H=2)(torch.ones(1, 3, 2))
        assert y.h[0, -1, 0] == 3 and state.h[0, 0] == 3


@pytest.mark.parametrize("name", ["class", "None", "lambda", "__init__", "__import__", "t"])
def test_names_that_no_class_can_have(name):
    assert codes(f"cell {name}(H):\n  input x: [H]\n  output x\n") == ["reserved"]


# Damage

PROGRAMS = [p.read_text(encoding="utf-8") for p in sorted(ROOT.glob("examples/*.rnn"))]
PIECES = st.one_of(
    st.sampled_from(
        [
            "(", ")", "[", "]", "\n", '"', '"""', "'", "=", ":", ";", ",", "@", "^", "-", "+", "*", "/", ".", "..", ".T", "[t]", "[t-1]",
            "[t+1]", "t", "h", "x", "W", "D", "H", "0", "1", "2.5", "1j", "inf", "pi", "complex ", "repeat k in 1..2:\n", "end\n", "cell B(D):\n",
            "def f(x) = x\n", "input ", "state ", "param ", "const ", "noise ", "output ", "grad ", " in (0, 1)", " ~ normal(1)", "split(", "tanh(",
            "merge(", "concat(", "outer(", "diag(", "eye(D)", "where(", "expm(", "#", "\\", "\0", "\ufeff", "é", "Η", "²", "−", "\t", "\r", "{{", "%}",
        ]
    ),
    st.characters(),
)  # fmt: skip


@st.composite
def damaged(draw) -> str:
    """An example with spans deleted, put elsewhere, or odd things put in."""
    text = draw(st.sampled_from(PROGRAMS))
    for _ in range(draw(st.integers(1, 3))):
        a = draw(st.integers(0, len(text)))
        b = min(len(text), a + draw(st.integers(0, 12)))
        match draw(st.sampled_from(["insert", "delete", "replace", "move", "line"])):
            case "insert":
                text = text[:a] + draw(PIECES) + text[a:]
            case "delete":
                text = text[:a] + text[b:]
            case "replace":
                text = text[:a] + draw(PIECES) + text[b:]
            case "move":
                c = draw(st.integers(0, len(text)))
                text = text[:c] + text[a:b] + text[c:]
            case "line":
                lines = text.split("\n")
                i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
                lines[i], lines[j] = lines[j], lines[i]
                text = "\n".join(lines)
    return text


@settings(max_examples=some(500), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(damaged())
def test_damaged_programs_are_told_or_compile(text):
    outcome(text)


# Start


def test_check_imports_little():
    """`rnndsl check` imports neither torch nor sympy nor jinja2, and what an error alone needs only after an error."""
    code = """
import sys
sys.modules["interegular"] = None  # Lark checks grammars with it where it is installed; users have no use for it
from rnndsl.cli import main
status = main(["check", sys.argv[1]])
heavy = {"torch", "sympy", "jinja2", "numpy", "difflib", "tomllib", "unittest", "asyncio", "pkg_resources"} & set(sys.modules)
print(status, *sorted(heavy))
"""
    path = ROOT / "examples" / "gru.rnn"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
