"""Kernels as text and as graphs: what is fused, what is divided among units, and what the C++ of the examples looks like."""

import re
from pathlib import Path

import pytest

from rnndsl import api, compiler
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.scope import state_numbers
from rnndsl.emit.cpp.text import Cpp, bracketed, number, operation, plus, times
from rnndsl.emit.naming import KernelNames
from rnndsl.kernel import program as programs
from rnndsl.kernel.graph import Builder
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.lowering import lower
from rnndsl.kernel.separate import Split, separate
from rnndsl.plan.recurrence import Recurrence, recurrences
from tests.features import FEATURES, program
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden" / "kernels"


def recurrences_of(text: str) -> list[tuple]:
    """The plan and each recurrence of a program's one cell."""
    (plan,) = compiler.compiled(Source("c.rnn", text)).plans
    return [(plan, r) for r in recurrences(plan)]


def example(name: str) -> str:
    return (ROOT / "examples" / f"{name}.rnn").read_text(encoding="utf-8")


def split_of(text: str) -> Split:
    ((plan, recurrence),) = recurrences_of(text)
    step = lower(plan, recurrence)
    forward = programs.forward(step)
    used = reachable(forward.nodes, [s.node for s in forward.sinks])
    heads = {s: len(plan.variable(s).type.heads) for s in recurrence.scan.states}
    return separate(forward, used, [(len(a.shape), heads[a.name]) for a, _ in step.carries], state_numbers(step))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("para_gru", Split((), (0,))),  # every channel by itself
        ("para_lstm", Split((), (0, 0))),
        ("lru", Split((), (0, 0))),  # a complex channel is a pair
        ("lif", Split((), (0,))),
        ("gru", Split()),
        ("layernorm_lstm", Split()),
        ("rhn", Split()),
        ("slstm", Split((0,))),  # each head by itself
        ("gated_delta_net", Split((0,), (2,))),  # and each column of its matrix
        ("m2rnn", Split((0,), (1,))),  # each row
    ],
)
def test_what_units_divide(name, split):
    assert split_of(example(name)) == split


def test_a_rearranged_axis_is_not_divided():
    text = "cell C(N, K):\n input x: [N*K]\n state g: [N; K]\n g[t] = tanh(heads(cumsum(merge(g[t-1])) + x, N))\n output y = merge(g[t])\n"
    assert split_of(text) == Split()
    assert split_of(text.replace("cumsum(merge(g[t-1]))", "merge(g[t-1])")) == Split((0,), (1,))  # there and back again


def test_what_is_fused_into_the_loop():
    """A bias comes along with its product; a stream that would become larger stays where it is."""

    def of(name: str) -> Recurrence:
        ((_, recurrence),) = recurrences_of(example(name))
        return recurrence

    gru = of("para_gru")
    assert [let.name for let in gru.entry] == ["z.in", "r.in", "n.in"]
    assert gru.streams == () and len(gru.products) == 1 and {s.name for s in gru.statics} == {"b_z", "b_r", "b_n", "a_z", "a_r", "a_n"}
    m2rnn = of("m2rnn")  # the outer product of two vectors would be a matrix for every step
    assert [s.name for s in m2rnn.streams] == ["f"] and m2rnn.products[0].results == ("H.in2", "H.in3")
    delta = of("gated_delta_net")  # normalize sums, and is done before
    assert "k" in [s.name for s in delta.streams]


@pytest.mark.parametrize("name", ZOO)
def test_no_kernel_is_given_a_matrix_a_step_nor_leaves_its_states_to_be_read(name):
    """Vectors, and params that do not change, make matrices inside kernels, and what reads a matrix state by vectors is computed there too."""
    compiled = compiler.compiled(Source("c.rnn", ZOO[name].text))
    for plan, kernels in zip(compiled.plans, compiled.kernels, strict=True):
        for k in kernels.recurrences:
            assert [s.name for s in k.recurrence.streams if s.type.rank > 1] == []
            states = [plan.variable(s).type for s in k.recurrence.scan.states]
            is_matrix = any(t.rank > 1 for t in states) or name in ("S4D", "MegaEMA")  # a matrix by its heads, which a `dot` reads
            apart = name == "FastWeights" or (name, *k.recurrence.scan.states) == ("MesaNet", "H")
            assert not is_matrix or apart or (k.followed is not None and not k.recurrence.exit.whole)  # h alone is put out; rounds of a loop read H


def test_a_local_that_an_output_reads_is_not_fused():
    text = """cell C(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param b: [H]
  u = W @ x + b
  h[t] = tanh(h[t-1] + u)
  output h, u
"""
    ((_, recurrence),) = recurrences_of(text)
    assert recurrence.entry == () and [s.name for s in recurrence.streams] == ["u"]


# The graph


def test_the_same_node_is_made_once_and_nothing_is_done_for_nothing():
    b = Builder()
    h = Dim.of("H")
    x = b.leaf("stream", 0, (h,))
    one, zero = b.number(1.0), b.number(0.0)
    assert b.pointwise("exp", x) == b.pointwise("exp", x)
    assert b.pointwise("*", x, one) == x and b.pointwise("+", zero, x) == x
    assert b.pointwise("neg", b.pointwise("neg", x)) == x
    y = b.leaf("stream", 1, (h,))
    minus_y = b.pointwise("neg", y)
    assert b.pointwise("+", x, minus_y) == b.pointwise("+", minus_y, x) == b.pointwise("-", x, y)
    assert b.pointwise("-", x, minus_y) == b.pointwise("+", x, y)
    assert b.number_of(b.pointwise("+", one, one)) == 2.0


def test_slices_of_formulas_and_of_joined_vectors():
    b = Builder()
    h = Dim.of("H")
    x, y = b.leaf("stream", 0, (h + h,)), b.leaf("stream", 1, (h,))
    both = b.pointwise("*", x, x)
    cut = b.slice(both, 0, h, h)
    assert b[cut].op == "*" and b[b[cut].args[0]].op == "slice"
    joined = b.concat([y, b.slice(x, 0, h, h)], 0)
    assert b.slice(joined, 0, Dim.of(0), h) == y


# The text


@pytest.mark.parametrize("name", ["para_lstm", "gated_delta_net", "gru", "rhn"])
def test_golden_kernels(name, accept):
    """The C++ of examples of each kind, as people would read it."""
    found = compiler.compiled(api.read_source(ROOT / "examples" / f"{name}.rnn")).carried[0]["cpu"].text
    golden = GOLDEN / f"{name}.cpp"
    if accept:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, encoding="utf-8", newline="\n")
    assert golden.exists(), f"run pytest {__file__} --accept to write it"
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", [*FEATURES, *ZOO])
def test_kernels_are_deterministic_and_refuse_nothing(name):
    text = program(name) if name in FEATURES else ZOO[name].text
    source = Source("c.rnn", text)
    first = compiler.compiled(source).carried
    assert first == compiler.compiled(source).carried
    assert all(c["cpu"].refused == () for c in first)


def test_statements_name_the_lines_they_come_from():
    text = example("para_gru")
    found = compiler.compiled(Source("para_gru.rnn", text)).carried[0]["cpu"].text
    lines = text.split("\n")
    named = re.findall(r"// para_gru\.rnn:(\d+)  (.*)", found)
    assert named
    for number_, shown in named:
        assert lines[int(number_) - 1].strip() == shown
    for equation in ("z = sigmoid", "r = sigmoid", "n = tanh", "h[t] ="):
        assert any(shown.startswith(equation) for _, shown in named)


@pytest.mark.parametrize("hostile", ["*/ int x = 1; /*", "\\", "??/", "#include <stdio.h>", "end \\"])
def test_comments_of_a_program_stay_comments(hostile):
    """A line of a program is shown in the kernel; whatever it holds, it remains one comment."""
    text = f"cell C(H):\n  input x: [H]\n  state h: [H]\n  h[t] = tanh(h[t-1] + x) # {hostile}\n  output h\n"
    found = compiler.compiled(Source(f"c{hostile}.rnn", text)).carried[0]["cpu"].text
    for line in found.split("\n"):
        if hostile in line:
            assert line.lstrip().startswith("//") and not line.endswith("\\") and "??/" not in line


def test_names_clash_with_nothing():
    names = KernelNames()
    assert names("register") == "register_" and names("λ") == "u3bb_" and names("2x") == "v2x_" and names("__") == "v_"
    assert names("a__b") == "a_b_" and names("a_b") == "a_b_2_" and names("a_b__2") == "a_b_2_2_"
    inner = names.child()
    assert inner("a__b") == "a_b_" and inner("fresh") == names("fresh")
    assert inner.of("a_b_", "r") == "a_b_r_" and inner("a_b_r") == "a_b_r_2_"


def test_expressions_keep_their_brackets():
    a, b = Cpp("a"), Cpp("b")
    total = operation("+", [a, b])
    assert operation("*", [total, a]).code == "(a + b) * a"
    assert operation("-", [a, total]).code == "a - (a + b)"
    assert operation("/", [a, operation("*", [a, b])]).code == "a / (a * b)"
    assert operation("neg", [operation("*", [a, b])]).code == "-(a * b)"
    assert number(-2.0).code == "T(-2)" and "infinity" in number(float("-inf")).code
    assert times("1", "H") == "H" and times("4*H", "K + 1") == "(4*H) * (K + 1)" and plus("0", "i", "0") == "i"
    assert bracketed("f(x)") == "f(x)" and bracketed("(a) * (b)") == "((a) * (b))"
