"""Matrices of kernels come from the calculus' formulas; here they are held against reverse accumulation over the same graph, number by number."""

import math
import random

import pytest

from rnndsl import compiler
from rnndsl.calculus.family import AFFINE
from rnndsl.diagnostics import Source
from rnndsl.functions import OPERATIONS
from rnndsl.kernel.adjoint import Adjoint
from rnndsl.kernel.channel_kernel import ChannelKernel
from rnndsl.kernel.graph import Builder
from tests.features import FEATURES
from tests.test_features import program
from tests.zoo_cells import ZOO

SURROGATES = """
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2

cell C(H):
  input x: [H]
  state h, g: [H]
  param a, b: [H]
  h[t] = tanh(a * h[t-1] + b * spike(g[t-1] + x)) * sigmoid(h[t-1] + g[t-1])
  g[t] = tanh(h[t] * b) * spike(h[t] - a) + g[t-1] * h[t]
  output h, g
"""
TEXTS = {**{n: c.text for n, c in ZOO.items()}, **{n: program(n) for n in FEATURES}, "surrogates": SURROGATES}


def kernels_of(name: str) -> list[ChannelKernel]:
    found = [r.channel for k in compiler.compiled(Source(name, TEXTS[name])).kernels for r in k.recurrences]
    return [c for c in found if isinstance(c, ChannelKernel) and c.back is not None]


def values_of(b: Builder, seed: int) -> list[float]:
    """A number for each node, leaves at random."""
    g = random.Random(seed)
    found: list[float] = []
    for node in b.nodes:
        args = [found[a] for a in node.args]
        if node.op == "number":
            found.append(node.of(float))
        elif node.op in ("size", "hyper"):
            found.append(g.uniform(0.5, 2.0))
        elif node.is_leaf:
            found.append(g.uniform(-1.0, 1.0))
        elif node.op == "copy":
            found.append(args[0])
        else:
            found.append(OPERATIONS[node.op].number(*args))
    return found


def reverse(b: Builder, updates: tuple[int, ...], count: int, surrogates: bool) -> list[list[int | None]]:
    """∂ update i / ∂ old j, by reverse accumulation."""
    last = len(b.nodes) - 1
    rows = []
    for n in updates:
        adjoint = Adjoint(b, surrogates=surrogates)
        adjoint.seed(n, b.number(1.0))
        adjoint.run(last)
        rows.append([adjoint.gradient(b.leaf("old", j, ())) for j in range(count)])
    return rows


@pytest.mark.parametrize("part", range(4))
def test_matrices_are_what_the_step_says(part):
    found = {name: kernels_of(name) for name in list(TEXTS)[part::4]}
    assert sum(map(bool, found.values())) > len(found) // 3, "many cells have kernels of channels"
    for name, kernels in found.items():
        for kernel in kernels:
            matrices_are_those_of_reverse_accumulation(name, kernel)
            coefficients_give_the_step(name, kernel)


def matrices_are_those_of_reverse_accumulation(name: str, kernel: ChannelKernel) -> None:
    b, k = kernel.channel.builder, len(kernel.channel.slots)
    exact = kernel.exact.a if kernel.exact is not None and kernel.exact.family == AFFINE else None
    true, back = (reverse(b, kernel.channel.updates, k, surrogates) for surrogates in (False, True))
    for seed in range(5):
        at = values_of(b, seed)
        for made, wanted in ((kernel.newton, true), (exact, true), (kernel.back, back)):
            for row, expected in zip(made or (), wanted, strict=False):
                for n, m in zip(row, expected, strict=True):
                    x, y = (0.0 if i is None else at[i] for i in (n, m))
                    assert x == pytest.approx(y, rel=1e-12, abs=1e-12, nan_ok=True), name


def coefficients_give_the_step(name: str, kernel: ChannelKernel) -> None:
    """New values are ⊕_j (a_ij ⊗ old j) ⊕ b_i at random points."""
    if (exact := kernel.exact) is None:
        return
    b = kernel.channel.builder
    olds = [b.leaf("old", j, ()) for j in range(len(kernel.channel.slots))]
    join = {AFFINE: lambda v: math.fsum(v), "max-plus": max, "log-semiring": lambda v: math.log(math.fsum(map(math.exp, v)))}[exact.family]
    for seed in range(5):
        at = values_of(b, seed)
        for update, row, rest in zip(kernel.channel.updates, exact.a, exact.b, strict=True):
            pairs = [(at[n], at[old]) for n, old in zip(row, olds, strict=True) if n is not None]
            terms = [a * h if exact.family == AFFINE else a + h for a, h in pairs] + ([at[rest]] if rest is not None else [])
            assert join(terms or [0.0]) == pytest.approx(at[update], rel=1e-12, abs=1e-12, nan_ok=True), name
