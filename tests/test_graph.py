"""The law of graphs: what the compiler makes is legal, and each rule is broken by a graph made for it."""

from pathlib import Path

import pytest

from rnndsl import api, compiler
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.kernel.build import graphs
from rnndsl.kernel.graph import Builder, Cut, Leaf, Loop, Node, Result, Round
from rnndsl.kernel.verify import RULES, IllegalGraph, verify
from tests.features import FEATURES
from tests.random_cells import cells
from tests.test_features import program

ROOT = Path(__file__).parents[1]
H, D = Dim.of("H"), Dim.of("D")
X = Node("stream", (), (H,), data=Leaf("stream", 0))  # [H]
Y = Node("stream", (), (D,), data=Leaf("stream", 1))  # [D]
W = Node("static", (), (H, D), data=Leaf("static", 0))
ONE = Node("number", (), (), data=1.0)
ROUND = Node("round", (), (H,), data=Round(0, 0))

BROKEN = {
    "arguments-earlier": [Node("neg", (0,), (H,), ((0,),))],
    "operation-known": [X, Node("negate", (0,), (H,), ((0,),))],
    "arguments-counted": [X, Node("+", (0,), (H,), ((0,),))],
    "data-typed": [Node("number", (), (), data=1)],
    "maps-complete": [X, Node("+", (0, 0), (H,), ((0,), (0, 0)))],
    "maps-sized": [X, Node("neg", (0,), (D,), ((0,),))],
    "domain-covered": [X, ONE, Node("sum", (0,), (H,), ((0,),), (D,))],
    "scalars-plain": [Node("size", (), (H,), data=H)],
    "leaf-of-its-kind": [Node("stream", (), (H,), data=Leaf("static", 0))],
    "shapes-kept": [W, Node("slice", (0,), (H, H), data=Cut(0, Dim.of(0)))],
    "loops-closed": [X, ROUND, Y, Node("loop", (0,), (), data=Loop(0, "k", Dim.of(1), Dim.of(3), (1,), (2,)))],
}


@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_every_rule_is_broken_by_something(name):
    with pytest.raises(IllegalGraph) as e:
        verify(BROKEN[name], "a test")
    assert e.value.rule == name and f"`{name}`" in str(e.value)


def test_further_breaches():
    cases = [
        ("shapes-kept", [W, Node("concat", (0, 0), (H, D), data=0)]),
        ("shapes-kept", [X, Node("diag", (0,), (H, D))]),
        ("shapes-kept", [W, Node("reshape", (0,), (H, H))]),
        ("shapes-kept", [X, Node("cumsum", (0,), (D,), data=False)]),
        ("domain-covered", [X, Node("neg", (0,), (H,), ((0,),), (D,))]),
        ("maps-complete", [X, Node("neg", (0,), (H,), ((1,),))]),
        ("maps-complete", [X, Node("neg", (0,), (H,))]),
        ("loops-closed", [X, ROUND, Node("loop", (0,), (), data=Loop(0, "k", Dim.of(1), Dim.of(3), (1,), (1,))),
                          Node("result", (2,), (H,), data=Result("rounds", 1))]),
        ("leaf-of-its-kind", [ONE, W, Node("static", (), (H, D), data=Leaf("static", 0, select=0))]),
    ]  # fmt: skip
    for name, nodes in cases:
        with pytest.raises(IllegalGraph) as e:
            verify(nodes, "a test")
        assert e.value.rule == name, (name, e.value)


def test_what_a_builder_makes_is_legal():
    b = Builder()
    w, y = b.leaf("static", 0, (H, D)), b.leaf("stream", 0, (D,))
    product = b.contract(w, y, ((0, 1), (1,)), (H,), (D,))
    b.pointwise("tanh", b.pointwise("+", product, b.number(2.0)))
    b.reduce("sum", b.slice(w, 1, Dim.of(0), Dim.of(2)), [1])
    verify(b.nodes, "a test")


@pytest.mark.parametrize("source", [*(Source(n, program(n)) for n in FEATURES), *map(api.read_source, sorted((ROOT / "examples").rglob("*.rnn")))], ids=lambda s: s.name)
def test_graphs_of_programs_are_legal(source):
    """`make_kernels` verifies them itself; here they are there to be verified."""
    assert [nodes for k in compiler.compiled(source).kernels for _, nodes in graphs(k) if not nodes] == []


def test_graphs_of_random_cells_are_legal():
    from hypothesis import HealthCheck, given, settings

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(cells())
    def check(cell):
        compiler.compiled(Source("r.rnn", cell.text)).kernels  # noqa: B018

    check()
