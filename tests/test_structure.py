"""Components, families and structures of published cells and of small equations, and the exact scans that follow from them."""

import pytest
import sympy
import torch

import rnndsl
from rnndsl.calculus.analysis import Component, analyse
from rnndsl.calculus.family import AFFINE, LOG, MAX_PLUS
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.tools.verify.numeric.lanes import Formulas, Point
from rnndsl.tools.verify.numeric.values import Sizes, random_like
from tests.choice import some
from tests.random_cells import RandomCell, cells
from tests.work import calls
from tests.zoo_cells import ZOO


def components(text: str, sizes: dict | None = None) -> tuple[Component, ...]:
    source = Source("cell.rnn", text)
    (plan,) = compiled(source).plans
    return analyse(plan, source, sizes).components


def described(c: Component) -> str:
    """A component as the zoo writes it."""
    recurrent = c.scan is not None
    invariant = ", invariant" if recurrent and c.time_invariant else ""
    return f"{' '.join(c.states)}: {c.family} {c.structure.kind} {c.structure.slots}{invariant}"


@pytest.mark.parametrize("name", ZOO)
def test_published_cells(name: str):
    found = components(ZOO[name].text)
    assert tuple(map(described, found)) == ZOO[name].components
    for c in found:
        assert c.structure.reason.startswith(c.structure.kind + " because "), c.structure.reason


def calculated(text: str) -> None:
    for c in components(text):
        _ = c.jacobian, c.backward, c.scan_form, c.time_invariant


def test_the_calculus_does_little():
    """A million calls are a quarter of a second on a core of 2023."""
    calculated(ZOO["Elman"].text)
    most = max(ZOO, key=lambda name: calls(lambda: calculated(ZOO[name].text)))
    assert calls(lambda: calculated(ZOO[most].text)) < 2_000_000, most


def test_eight_coupled_states():
    """Every state reads every other, old and new, through gates."""
    names = [f"s{i}" for i in range(8)]
    lines = ["cell C(H):", "  input x: [H]", f"  state {', '.join(names)}: [H]", "  param a, b: [H]"]
    for i, s in enumerate(names):
        others = " + ".join(f"b * {o}[t{'' if j < i else '-1'}]" for j, o in enumerate(names))
        lines.append(f"  z{i} = sigmoid({others} + x)")
        lines.append(f"  {s}[t] = z{i} * {s}[t-1] + (1 - z{i}) * tanh(a * ({others}) + x)")
    lines.append(f"  output {', '.join(names)}")
    text = "\n".join(lines) + "\n"
    (c,) = components(text)
    assert described(c) == f"{' '.join(names)}: nonlinear block 8"
    assert all(all(row) for row in c.jacobian.pattern) and c.backward is not None
    assert all(b.box.low == -1 and b.box.high == 1 for b in c.bounds.values())
    assert calls(lambda: calculated(text)) < 10_000_000


def test_long_chains_do_not_double():
    """A local that is read twice a round, over many rounds."""
    text = """
cell C(H):
  input x: [H]
  state h: [H]
  v = h[t-1]
  repeat k in 1..60:
    v = sin(v + x) * cos(v) / k + v
  end
  h[t] = v
  output h
"""
    (c,) = components(text)
    assert c.jacobian is not None and c.backward is not None
    assert calls(lambda: calculated(text)) < 5_000_000


# One equation

FRAME = """cell C(H, K, V, dt = 0.5):
  input x, y: [H]
  input e: []
  input k: [K]
  input v: [V]
  state h: [H]
  state S: [K, V]
  param a, b: [H]
  param d: [K]
  param A, R: [H, H]
  param L: [K, K]
  param G: [V, V]
"""


def one(line: str, state: str = "h") -> str:
    """The component of a state with the equation `line`."""
    other = "S[t] = 0.5 * S[t-1]" if state == "h" else "h[t] = 0.5 * h[t-1]"
    found = components(f"{FRAME}  {line.replace('; ', chr(10) + '  ')}\n  {other}\n  output h, S\n")
    (c,) = (c for c in found if c.states == (state,))
    return described(c).split(": ")[1]


SPELLINGS = {
    "affine diagonal 1": """(1 - x) * h[t-1] + x * y | h[t-1] + x * (y - h[t-1]) | h[t-1] - x * h[t-1] | y - x * -h[t-1] | h[t-1] * x / y
        h[t-1] * x * y * a | x * h[t-1] * y | where(x > 0, h[t-1], 0) | where(x > 0, h[t-1], y) | where(e > 0, 2 * h[t-1], h[t-1] - y)
        x * diag(a) @ h[t-1] | h[t-1] @ diag(x) + y | diag(x * y) @ h[t-1] | h[t-1] / x | 2 * (h[t-1] + x) - h[t-1] * y
        x^2 * h[t-1]^1 + y^0 | sin(x) * h[t-1] + exp(y) | h[t-1] * x + tanh(h[t-1] - h[t-1]) | h[t-1] * x + R @ (h[t-1] - h[t-1])
        h[t-1] * x + A @ h[t-1] - A @ h[t-1] | h[t-1] * x + (h[t-1] * h[t-1] - h[t-1] * h[t-1]) | h[t-1] * dot(a, x) | softplus(x) * h[t-1]
        h[t-1] * t + x | max(x, y) * h[t-1] + relu(y)""",
    "affine diagonal 1, invariant": """a * h[t-1] + x | h[t-1] / 2 | -(-h[t-1]) + x | h[t-1] | 0.5 * h[t-1] - 0.25 * h[t-1] | x - h[t-1]
        dt * h[t-1] + x * dt | a * h[t-1] * b + y | h[t-1]^1 * 0.3 | diag(a) @ h[t-1] + x | -h[t-1] | h[t-1] * sum(a) | relu(a) * h[t-1]
        h[t-1] - h[t-1] + x | 0 * h[t-1] + x | x + h[t-1]^0 | h[t-1] + h[t-1] | re(h[t-1]) * a | conj(h[t-1])""",
    "affine block 2, invariant": "h[t-1] + h[t-2] | a * h[t-1] - b * h[t-2] + x | h[t-2]",
    "affine block 3": "h[t-1] + x * h[t-3]",
    "max-plus diagonal 1": """max(a + h[t-1], x) | relu(h[t-1] + x) | max(h[t-1], x) | max(-(-h[t-1]) + a, x) | max(h[t-1] - x, y) + a
        max(max(h[t-1], x) + a, y) | where(e > 0, max(h[t-1], x), y) | max(x, where(e > 0, h[t-1], y)) | max(h[t-1]^1 + x, h[t-1] + y)
        relu(relu(h[t-1] + x) + y)""",
    "max-plus block 2": "max(h[t-1] + a, h[t-2] + b)",
    "log-semiring diagonal 1": """logaddexp(a + h[t-1], x) | softplus(h[t-1] + x) | logaddexp(h[t-1], x) - y
        logaddexp(logaddexp(h[t-1], x), y) | where(e > 0, logaddexp(h[t-1], x), h[t-1])""",
    "nonlinear diagonal 1": """tanh(a * h[t-1]) | abs(h[t-1] + x) | min(a + h[t-1], x) | -max(-h[t-1], x) | max(2 * h[t-1], x) | max(h[t-1], logaddexp(h[t-1], x))
        h[t-1] * h[t-1] | x / h[t-1] | h[t-1]^2 | h[t-1]^x | x^h[t-1] | 2 * max(h[t-1], x) | max(h[t-1], 0.1 * h[t-1]) | floor(h[t-1])
        where(h[t-1] > 0, x, h[t-1]) | mod(h[t-1], 1) | h[t-1] > x | relu(h[t-1] + x) * a | diag(h[t-1]) @ h[t-1] | h[t-1] * relu(h[t-1])
        min(max(h[t-1] + x, -1), 1) | max(h[t-1] + x, y) - h[t-1] | sign(h[t-1])""",
    "affine dense 1, invariant": """A @ h[t-1] + x | h[t-1] @ A | a * A @ h[t-1] | dot(a, h[t-1]) * b | a + sum(h[t-1]) | mean(h[t-1]) | cumsum(h[t-1])
        A.T @ h[t-1] | A @ R @ h[t-1] | a * h[t-1] + R @ (A @ h[t-1])""",
    "affine dense 1": "outer(x, y) @ h[t-1] | h[t-1] - x * dot(y, h[t-1]) | diag(x) @ A @ h[t-1] | concat(h[t-1]) * x",
    "nonlinear dense 1": """tanh(A @ h[t-1]) | softmax(h[t-1]) | layernorm(h[t-1] + x) | normalize(h[t-1]) | norm(h[t-1]) * a | h[t-1] * dot(h[t-1], x)
        h[t-1] @ h[t-1] + x | max(A @ h[t-1] + x, 0) | outer(h[t-1], x) @ h[t-1] | A @ tanh(h[t-1]) | rmsnorm(h[t-1])""",
}  # fmt: skip
MATRIX = {
    "affine diagonal 1, invariant": "S[t-1] + outer(k, v) | diag(d) @ S[t-1] | S[t-1].T.T | (diag(d) @ S[t-1] + outer(k, v)).T.T",
    "affine diagonal 1": """diag(k) @ S[t-1] + outer(k, v) | e * S[t-1] | S[t-1] @ diag(v) | diag(k) @ S[t-1] @ diag(v)
        outer(k, v) * S[t-1]""",
    "nonlinear diagonal 1": "tanh(diag(k) @ S[t-1])",
    "affine left 1, invariant": "L @ S[t-1] | diag(d) @ L @ S[t-1] | (S[t-1].T @ L).T",
    "affine left 1": "S[t-1] - outer(k, k @ S[t-1]) | outer(k, k) @ S[t-1] | L @ S[t-1] @ diag(v) | diag(k) @ (L @ S[t-1])",
    "nonlinear left 1": "tanh(L @ S[t-1]) | L @ tanh(S[t-1])",
    "affine right 1, invariant": "S[t-1] @ G",
    "affine right 1": "diag(k) @ S[t-1] - outer(S[t-1] @ v, v) | S[t-1] @ outer(v, v)",
    "nonlinear right 1": "tanh(S[t-1] @ G)",
    "affine dense 1, invariant": "L @ S[t-1] @ G | S[t-1] + outer(d, (d @ S[t-1]) @ G)",
    "affine dense 1": "S[t-1] + outer(k, v) * dot(k, S[t-1] @ v)",
    "nonlinear dense 1": "S[t-1] @ S[t-1].T @ S[t-1]",
}
CASES = [
    (state, expected, text.strip())
    for state, table in (("h", SPELLINGS), ("S", MATRIX))
    for expected, texts in table.items()
    for line in texts.splitlines()
    for text in line.split("|")
]


@pytest.mark.parametrize(("state", "expected", "text"), CASES, ids=[c[2].replace("[t-1]", "") for c in CASES])
def test_spellings(state: str, expected: str, text: str):
    assert one(f"{state}[t] = {text}", state) == expected


@pytest.mark.parametrize(
    ("state", "text", "expected"),
    [
        ("h", "M = diag(x); h[t] = M @ h[t-1]", "affine diagonal 1"),
        ("h", "M = diag(a); h[t] = h[t-1] @ M + x", "affine diagonal 1, invariant"),
        ("S", "M = diag(k); S[t] = M @ S[t-1]", "affine diagonal 1"),
        ("h", "z = 1 - x; g = z * h[t-1]; h[t] = g + x * y", "affine diagonal 1"),
        ("h", "z = h[t-1] + a; h[t] = max(z, x)", "max-plus diagonal 1"),
        ("h", "z = h[t-1]; w = -z; h[t] = max(-w, x)", "max-plus diagonal 1"),
    ],
)
def test_through_locals(state: str, text: str, expected: str):
    assert one(text, state) == expected


def test_transposed_states_are_not_diagonal():
    text = "cell C(K):\n  input x: [K]\n  state S: [K, K]\n  S[t] = {} + outer(x, x)\n  output S\n"
    for value, kind in (("S[t-1].T", "dense"), ("0.5 * (S[t-1] + S[t-1].T)", "dense"), ("S[t-1].T.T", "diagonal")):
        (c,) = components(text.format(value))
        assert c.structure.kind == kind, value


def test_heads():
    frame = "cell C(D, N, K):\n  input x: [N*K]\n  state g: [N; K]\n  param R: [N; K, K]\n  param P: [K, K]\n  param M: [N*K, N*K]\n"
    frame += "  param a: [N;]\n  param w: [K]\n  u = heads(x, N)\n  g[t] = {}\n  output y = merge(g[t])\n"
    cases = {
        "a * g[t-1] + u": "affine diagonal 1, invariant",
        "tanh(u + w * g[t-1])": "nonlinear diagonal 1",
        "tanh(R @ g[t-1] + u)": "nonlinear head 1",
        "P @ g[t-1] + u": "affine head 1, invariant",
        "g[t-1] - dot(u, g[t-1]) * w": "affine head 1",
        "softmax(g[t-1] + u)": "nonlinear head 1",
        "tanh(heads(M @ merge(g[t-1]), N) + u)": "nonlinear dense 1",
        "heads(M @ merge(g[t-1]), N)": "affine dense 1, invariant",
        "u + sum(merge(g[t-1]))": "affine dense 1, invariant",
    }
    for value, expected in cases.items():
        (c,) = components(frame.format(value))
        assert described(c) == f"g: {expected}", value


def test_slots_are_the_components_own():
    """What another component or an output reads of a state's past is no slot of it."""
    text = "cell C(H):\n  input x: [H]\n  state h, g: [H]\n  h[t] = tanh(h[t-1] + x)\n  g[t] = 0.5 * g[t-1] + h[t-3]\n  output g, y = g[t-2]\n"
    assert [described(c) for c in components(text)] == ["h: nonlinear diagonal 1", "g: affine diagonal 1, invariant"]


def test_components_in_dependency_order():
    text = """
cell C(H):
  input x: [H]
  state a, b, c, d, e: [H]
  e[t] = 0.5 * e[t-1] + d[t-1]
  d[t] = tanh(c[t-1] + d[t-1])
  c[t] = b[t-1] + c[t-1] + a[t-1]
  a[t] = 0.5 * b[t-1] + x
  b[t] = 0.5 * a[t-1]
  output e
"""
    found = [described(c) for c in components(text)]
    assert found == ["a b: affine block 2, invariant", "c: affine diagonal 1, invariant", "d: nonlinear diagonal 1", "e: affine diagonal 1, invariant"]


@pytest.mark.parametrize(
    ("equations", "pattern"),
    [
        ("p[t] = tanh(p[t-1] + q[t-1]); q[t] = p[t-1] + x", ["11", "10"]),
        ("p[t] = tanh(q[t-1]); q[t] = p[t] + x", ["01", "01"]),
        ("p[t] = tanh(q[t-1] + x); q[t] = 0.5 * p[t-1]", ["01", "10"]),
        ("p[t] = p[t-1] + q[t-1] - q[t-1] * 1; q[t] = p[t-1]", ["10", "10"]),
        ("p[t] = tanh(R @ q[t-1]); q[t] = p[t-1] + x", ["01", "10"]),
        ("p[t] = tanh(p[t-2] + q[t-1]); q[t] = p[t-1]", ["011", "100"]),
    ],
)
def test_patterns_keep_zeros(equations: str, pattern: list[str]):
    text = "cell C(H):\n  input x: [H]\n  state p, q: [H]\n  param R: [H, H]\n  " + equations.replace("; ", "\n  ") + "\n  output p, q\n"
    found = [c for c in components(text) if set(c.states) == {"p", "q"}]
    assert ["".join("01"[x] for x in row) for row in found[0].jacobian.pattern] == pattern


def test_a_complex_state_read_by_parts():
    text = "cell C(H):\n  input x: [H]\n  state h: complex [H]\n  param th: [H]\n  h[t] = {} + x\n  output y = re(h[t])\n"
    cases = {
        "exp(1j * th) * h[t-1]": "affine diagonal 2, invariant",
        "h[t-1] * abs(1j * th)": "affine diagonal 2, invariant",
        "tanh(h[t-1])": "nonlinear diagonal 2",
        "re(h[t-1]) * th": "affine block 2, invariant",
        "h[t-1] / (1 + abs(h[t-1]))": "nonlinear block 2",
        "norm(h[t-1])": "nonlinear dense 2",
    }
    for value, expected in cases.items():
        (c,) = components(text.format(value))
        assert described(c) == f"h: {expected}", value


# Exact scans


def joined(kind: str, terms: list[torch.Tensor]) -> torch.Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term if kind == AFFINE else torch.maximum(total, term) if kind == MAX_PLUS else torch.logaddexp(total, term)
    return total


def assert_scans(c: Component, sizes: dict[str, int], seed: int = 0) -> None:
    """The coefficients of the scan form give the update at random points, the semiring's zero among the old states."""
    form, lanes = c.scan_form, c.lanes
    g = torch.Generator().manual_seed(seed)
    shapes = Sizes(sizes)
    given = {}
    for leaf in lanes.leaves:
        if not leaf.operation or leaf.operation == "slice":
            dtype = torch.complex128 if leaf.type.is_complex else torch.float64
            given[leaf.symbol] = torch.randn(shapes.layout(leaf.type), dtype=dtype, generator=g)
    zero = 0.0 if c.family == AFFINE else -torch.inf
    for empty in (False, True):
        olds = {s.symbol: torch.empty(shapes.layout(s.type), dtype=torch.complex128 if s.type.is_complex else torch.float64) for s in lanes.slots}
        olds = {s: torch.full_like(v, zero) if empty else random_like(v, g) for s, v in olds.items()}
        point = Point(lanes, shapes, given | olds)
        formulas = Formulas(values := dict(point.values))
        for symbol, formula in form.locals:
            values[symbol] = formulas(formula)
        bars = form.bars or ({},) * len(form.a)
        for (state, update), row, others, rest in zip(point.updates.items(), form.a, bars, form.b, strict=True):
            terms = [] if rest is None else [formulas(rest)]
            for coefficient, slot in zip(row, lanes.slots, strict=True):
                if coefficient is not None:
                    a, s = formulas(coefficient), olds[slot.symbol]
                    terms.append(a * s if c.family == AFFINE else a + s)
                if (bar := form.conjugates.get(slot.symbol)) in others:
                    terms.append(formulas(others[bar]) * olds[slot.symbol].conj())
            value = joined(c.family, terms) if terms else torch.full_like(update, zero)
            torch.testing.assert_close(value.expand(update.shape).to(update.dtype), update, rtol=1e-12, atol=1e-12, equal_nan=True, msg=state)
            for coefficient in (*row, rest):
                assert coefficient is None or not coefficient.free_symbols & {s.symbol for s in lanes.slots}


ODD = {"D": 3, "H": 5, "N": 2, "K": 4, "V": 7, "L": 3, "B": 6, "M": 3}


def within_a_channel(c: Component) -> bool:
    return c.scan is not None and c.family in (AFFINE, MAX_PLUS, LOG) and c.structure.kind in ("diagonal", "block")


@pytest.mark.parametrize("name", ZOO)
def test_scan_forms_of_published_cells(name: str):
    for c in components(ZOO[name].text, ODD):
        exact = within_a_channel(c)
        assert (c.scan_form is not None) == exact
        if exact:
            assert_scans(c, ODD)


@pytest.mark.parametrize("text", [c[2] for c in CASES if c[1].split()[1] in ("diagonal", "block") and "nonlinear" not in c[1]])
def test_scan_forms_of_spellings(text: str):
    state = "h" if "h[" in text else "S"
    other = "S[t] = 0.5 * S[t-1]" if state == "h" else "h[t] = 0.5 * h[t-1]"
    for c in components(f"{FRAME}  {state}[t] = {text}\n  {other}\n  output h, S\n", ODD):
        assert c.scan_form is not None
        for seed in range(3):
            assert_scans(c, ODD, seed)


def test_scan_forms_of_random_cells():
    from hypothesis import HealthCheck, given, settings

    @settings(max_examples=some(40), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(cells())
    def check(cell: RandomCell):
        for c in components(cell.text, cell.sizes):
            if c.scan_form is not None:
                assert_scans(c, cell.sizes)

    check()


def test_no_formula_is_a_nan():
    """SymPy meets infinities in programs; none of its own making are left in a formula."""
    for name, cell in ZOO.items():
        for c in components(cell.text):
            for p in c.jacobian.updates if c.jacobian else ():
                assert not any(e.has(sympy.nan, sympy.zoo) for e in p.by.values()), name


@pytest.mark.parametrize("name", ZOO)
def test_threads_divide_what_nothing_mixes(name: str):
    """The C++ kernels cut states along axes where no value depends on another place's; the calculus says the same of the equations."""
    for kernels in compiled(Source("cell.rnn", ZOO[name].text)).kernels:
        for r in kernels.recurrences:
            mixed = r.component.lanes.mixed
            ranks = {s.type.rank for s in r.component.lanes.slots}
            split = r.sweep.split.innermost(r.sweep.step)
            if split.heads:
                assert "head" not in mixed
            if ranks <= {1, 2} and len(ranks) == 1:
                twice = name == "MesaNet" and r.recurrence.scan.states == ("H",)  # the gradient of k in outer(k, k) is in rows and in columns
                assert bool(split.block) == (("row" if ranks == {1} else "column") not in mixed and not twice)


def test_an_exact_scan_of_a_value_and_its_conjugate():
    text = "cell C(H):\n  input x: [H]\n  state z: complex [H]\n  param a, b: complex [H]\n  z[t] = a * z[t-1] + b * conj(z[t-1]) + x\n  output y = re(z[t])\n"
    page = rnndsl.explain(text).text
    assert "z[t] = A11 * z[t-1] + A12 * conj(z[t-1]) + B1" in page
    (kernels,) = compiled(Source("cell.rnn", text)).kernels
    exact = kernels.recurrences[0].channel.exact
    assert exact.family == AFFINE and all(n is not None for row in exact.a for n in row)
