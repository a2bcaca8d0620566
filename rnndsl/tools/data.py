"""What is known of a cell as plain data: what `explain --json` prints, and what the page is written from."""

import math
from fractions import Fraction
from typing import Any

from rnndsl.calculus import family
from rnndsl.calculus.analysis import Component, System
from rnndsl.calculus.cost import Cost, cost_of_map, cost_of_scan, total
from rnndsl.calculus.intervals import Interval
from rnndsl.calculus.lowering import shown_rounds
from rnndsl.calculus.schedule import ALL_STEPS, saved_tensors
from rnndsl.calculus.structure import BLOCK, DIAGONAL
from rnndsl.checks.cell import Apply, Expr, Let, Ref, Repeat, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.devices import USUAL, of_architecture
from rnndsl.diagnostics import Source, Span
from rnndsl.kernel.build import CellKernels, RecurrenceKernels, Refusal
from rnndsl.kernel.choice import Prediction, predict, schedules_of
from rnndsl.plan.ir import Gemm, Map, Operation, Plan, Scan, names_of
from rnndsl.plan.recurrence import Recurrence
from rnndsl.syntax import ast
from rnndsl.tools.expr_text import expr_text, size_text
from rnndsl.tools.formula_text import formula_text, mix_text, symbol_names
from rnndsl.tools.names import Shown, timed
from rnndsl.tools.normal_form import normal_form

VERSION = 1
MODEL = f"predicted by a model, not measured: {of_architecture(USUAL)}; on a CPU, kernels go through time step by step"


def cell_data(
    system: System, kernels: CellKernels, file: ast.File, source: Source, shape: tuple[int, int] | None = None, sizes: dict[str, int] | None = None
) -> dict[str, Any]:
    """One cell."""
    plan, sizes = system.plan, sizes or {}
    cell = plan.cell
    shown = Shown(cell)
    tree = next(c for c in file.cells if c.name.id == cell.name)
    last = max((i for i, s in enumerate(plan.stages) if isinstance(s, Scan)), default=-1)
    recurrences = {r.recurrence.scan.states: r for r in kernels.recurrences}
    made = {let.name for r in recurrences.values() if (run := _run(r)) for let in run.made}
    before: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []
    for place, stage in enumerate(plan.stages):
        if isinstance(stage, Map):
            entries = [e | {"in_kernel": isinstance(o, Let) and o.name in made} for o in stage.body for e in _operation(o, plan, shown, source)]
            (before if place < last else after).extend(entries)
    costs = [cost_of_map(s, plan) for s in plan.stages if isinstance(s, Map)]
    components = [_component(c, recurrences.get(c.states), shown, source, shape, sizes) for c in system.components]
    return {
        "name": cell.name,
        "doc": cell.doc,
        "line": source.line_of(tree.name.span.start),
        "header": [h if isinstance(h, str) else f"{h.name} = {h.default:g}" for h in cell.header],
        "sizes": {n: sizes.get(n) for n in cell.sizes},
        "inputs": [{"name": v.name, "shape": str(v.type)} for v in cell.of_role("input")],
        "states": [{"name": v.name, "shape": str(v.type)} for v in cell.of_role("state")],
        "functions": _functions(tree, file, source),
        "equations": _equations(tree.statements, source),
        "once_a_call": [e for c in plan.constants for e in _operation(c, plan, shown, source)],
        "hoisted": before,
        "components": components,
        "after": after,
        "outputs": [{"name": name, "text": expr_text(value, shown.ref)} for name, value, _ in plan.outputs],
        "cost": {
            "hoisted": _cost(total(costs), sizes),
            "step": _cost(total([*costs, *(cost_of_scan(s) for s in plan.scans)]), sizes),
        },
        "shape": {"B": shape[0], "T": shape[1]} if shape else None,
        "warnings": [w for c in components for w in c["warnings"]],
    }


# The program's own text


def _line(span: Span, source: Source) -> int | None:
    return source.line_of(span.start) if span.end > span.start else None


def _equations(statements: tuple[ast.Statement, ...], source: Source, depth: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for s in statements:
        if isinstance(s, ast.Repeat):
            header = f"repeat {s.variable.id} in {source.slice(s.low.span)}..{source.slice(s.high.span)}:"
            end = source.line_of(max(s.span.end - 1, s.span.start))
            found.append({"line": _line(s.span, source), "text": "  " * depth + header})
            found += _equations(s.body, source, depth + 1)
            found.append({"line": end, "text": "  " * depth + "end"})
        elif isinstance(s, ast.Assign | ast.Output):
            found.append({"line": _line(s.span, source), "text": "  " * depth + _one_line(source.slice(s.span))})
    return found


def _one_line(text: str) -> str:
    return " ".join(" ".join(row.split("#")[0] for row in text.split("\n")).split())


def _functions(tree: ast.CellDef, file: ast.File, source: Source) -> list[dict[str, Any]]:
    """The `def`s that a cell calls, by itself or through another."""
    defs = {f.name.id: f for f in file.functions}
    wanted = called(tree, defs)
    return [{"line": _line(f.span, source), "text": _one_line(source.slice(f.span))} for f in file.functions if f.name.id in wanted]


def called(tree: ast.Node, defs: dict[str, ast.FunctionDef]) -> set[str]:
    """The names of the functions of a program that a part of it calls, directly or not."""
    found: set[str] = set()
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call) and node.function.id in defs and node.function.id not in found:
            found.add(node.function.id)
            stack.append(defs[node.function.id])
        if isinstance(node, ast.Node):
            stack.extend(getattr(node, f) for f in node.__dataclass_fields__ if f != "span")
        elif isinstance(node, tuple):
            stack.extend(node)
    return found


# Operations


def _operation(o: Operation, plan: Plan, shown: Shown, source: Source, depth: int = 0) -> list[dict[str, Any]]:
    match o:
        case Gemm():
            matrices = [expr_text(p.args[0], shown.ref) for p in o.products]
            return [
                {
                    "kind": "product",
                    "names": [shown(r) for r in o.results],
                    "matrices": matrices,
                    "operand": expr_text(o.operand, shown.ref),
                    "matrix": shown(o.matrix.name),
                    "shape": _shape(o.matrix),
                    "rows": "B*T",
                    "line": _line(o.products[0].span, source),
                }
            ]
        case Repeat():
            text = f"repeat {shown(o.counter)} in {o.low}..{o.high}"
            head = {"kind": "repeat", "text": text, "line": _line(o.span, source)}
            return [head, *(e for let in o.body for e in _operation(let, plan, shown, source, depth + 1))]
    name = shown(o.name) if isinstance(o, Let) else timed(o.state, 0)
    shape = plan.variable(o.state).type if isinstance(o, Update) else o.value.type
    products = [
        {"matrix": expr_text(n.args[0], shown.ref), "operand": expr_text(n.args[1], shown.ref), "shape": _shape(n.args[0])}
        for n in walk(o.value)
        if isinstance(n, Apply) and n.op == "@" and n.args[0].type.rank == 2 and _static(n.args[0], plan) and not _static(n.args[1], plan)
    ]
    entry: dict[str, Any] = {"kind": "equation", "name": name, "text": expr_text(o.value, shown.ref), "shape": str(shape)}
    if isinstance(o.value, Apply) and o.value.op == "rows":
        entry = {"kind": "stacked", "name": name, "matrices": [expr_text(a, shown.ref) for a in o.value.args], "shape": str(shape)}
    return [{**entry, "products": products, "line": _line(o.span, source), "depth": depth}]


def _shape(e: Expr) -> str:
    return str(e.type)


def _static(e: Expr, plan: Plan) -> bool:
    return not any(isinstance(n, Ref) and n.moves(plan.static) for n in walk(e))


# Components


def _component(c: Component, kernels: RecurrenceKernels | None, shown: Shown, source: Source, shape: tuple[int, int] | None, sizes: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "states": list(c.states),
        "structure": c.structure.kind,
        "family": c.family,
        "slots": c.structure.slots,
        "reason": c.structure.reason,
        "line": source.line_of(c.structure.span.start) if c.structure.span else _first_line(c, source),
        "time_invariant": c.time_invariant if not c.too_large else None,
        "bounds": {s: _bounds(c, s) for s in c.bounds},
        "jacobian": _jacobian(c, shown, repeat_sizes(c.plan, sizes) if c.plan else {}),
        "scan": _scan(c, shown),
        "chunks": normal_form(kernels, shown),
        "streams": [shown.ref(r) for r in c.scan.streams] if c.scan else [],
        "saved": [{"name": shown(s.name) if "[" not in s.name else s.name, "role": s.role, "shape": str(s.type)} for s in saved_tensors(c, _run(kernels))],
        "schedules": list(schedules_of(kernels)) if kernels else [ALL_STEPS],
        "predicted": None,
        "ranks": None,
        "cost": _cost(cost_of_scan(c.scan), sizes) if c.scan else None,
        "equations": [e for o in c.scan.body for e in _operation(o, c.plan, shown, source)] if c.scan and c.plan else [],
    }
    if shape:
        p = predict(kernels, *shape, sizes) if kernels else Prediction(ALL_STEPS, "it reads no own past")
        found["predicted"] = {"schedule": p.schedule, "why": p.why, "channels": p.channels, "needs": list(p.needs), "model": MODEL}
    found["warnings"] = _warnings(c)
    return found


def _run(kernels: RecurrenceKernels | None) -> Recurrence | None:
    """What a kernel computes; None where there is none."""
    return None if kernels is None or isinstance(kernels.sweep, Refusal) else kernels.swept


def _first_line(c: Component, source: Source) -> int | None:
    lines = [_line(o.span, source) for o in (c.scan.body if c.scan else ()) if isinstance(o, Update)]
    return next((n for n in lines if n), None)


def _end(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _bounds(c: Component, state: str) -> dict[str, Any]:
    b = c.bounds[state]
    hypers = {h.name: h.default for h in c.plan.cell.hypers} if c.plan else {}
    return {"low": _end(b.box.low), "high": _end(b.box.high), "assumes": {a: hypers.get(a) for a in b.assumes}}


def _jacobian(c: Component, shown: Shown, sizes: dict[str, int]) -> dict[str, Any] | None:
    """∂s[t]/∂slots, with what passes through operations that mix channels in factored form."""
    if c.lanes is None or c.scan is None:
        return None
    if c.too_large:
        empty: dict[str, Any] = {key: [] for key in ("rows", "columns", "pattern", "entries", "through", "locals")}
        return {**empty, "form": f"too large to show: {c.too_large}", "rounds": None, "too_large": c.too_large}
    assert c.jacobian is not None
    names = symbol_names(c.lanes, c.jacobian, c.scan, shown)
    place = [*(s.symbol for s in c.lanes.slots), *(m.symbol for m in c.lanes.mixes)]
    place += [bar for bar, symbol in c.jacobian.conjugates.items() if symbol in place]
    long = dict(c.jacobian.locals)

    def entries(of: str, by: dict) -> list[dict[str, Any]]:
        texts = ((s, formula_text(long.get(by[s], by[s]), names)) for s in place if s in by)
        return [{"of": of, "by": names[s], "text": text, **_growth(c, of, str(s))} for s, text in texts if text != "0"]

    through = [
        {
            "name": names[m.symbol],
            "text": mix_text(m, names),
            "operand": formula_text(m.operand, names),
            "entries": entries(formula_text(m.operand, names), p.by),
        }
        for m, p in zip(c.lanes.mixes, c.jacobian.operands, strict=True)
    ]
    own = {n for o in c.scan.body for n in names_of(o)}
    locals_ = [
        {"name": names[s], "text": formula_text(f, names), **({"made": True} if s in long or (str(s) not in own and str(s)[-1] != "'") else {})}
        for s, f in (*c.lanes.locals, *c.jacobian.locals)
    ]
    return {
        "rows": [timed(p.root, 0) for p in c.jacobian.updates],
        "columns": [names[s.symbol] for s in c.lanes.slots],
        "pattern": [list(row) for row in c.jacobian.pattern],
        "entries": [e for p in c.jacobian.updates for e in entries(timed(p.root, 0), p.by)],
        "through": through,
        "locals": locals_,
        "form": _form(c, names),
        "rounds": _rounds(c, sizes),
    }


def _growth(c: Component, of: str, by: str) -> dict[str, Any]:
    found = c.growth.get((of.removesuffix("[t]"), by))
    return {"size_at_most": _end(found.high)} if found else {}


ROUNDS = 8  # of a repeat that are written out; a longer one stands as if its length were not known


def repeat_sizes(plan: Plan, sizes: dict[str, int]) -> dict[str, int]:
    """The sizes that the calculus may unroll repeats by: none that makes one too long to read."""
    repeats = [o for s in plan.stages for o in s.body if isinstance(o, Repeat)]
    long: set[str] = set()
    for r in repeats:
        names = r.high.names | r.low.names
        if names <= sizes.keys() and r.high.evaluate(sizes) - r.low.evaluate(sizes) >= ROUNDS:
            long |= names
    return {n: v for n, v in sizes.items() if n not in long}


def _rounds(c: Component, sizes: dict[str, int]) -> int | None:
    """The rounds of a repeat that are shown where its length is not known, or too long to read."""

    def written(o: Repeat) -> bool:
        return o.high.names | o.low.names <= sizes.keys() and o.high.evaluate(sizes) - o.low.evaluate(sizes) < ROUNDS

    body = c.scan.body if c.scan else ()
    return max((shown_rounds(o) for o in body if isinstance(o, Repeat) and not written(o)), default=None)


def _form(c: Component, names: dict) -> str:
    """The shape of the whole Jacobian in words."""
    assert c.lanes is not None
    slots = [names[s.symbol] for s in c.lanes.slots]
    kind = c.structure.kind
    if kind == DIAGONAL:
        return "one number a channel"
    if kind == BLOCK and c.lanes.complex_pairs:
        return "a block a channel, of real and imaginary parts"
    if kind == BLOCK:
        return f"a {len(slots)} by {len(slots)} block a channel"
    products = [mix_text(m, names) for m in c.lanes.mixes if m.operation == "@"]
    listed = ", ".join(dict.fromkeys(products)) or ", ".join(dict.fromkeys(mix_text(m, names) for m in c.lanes.mixes))
    inside = {"head": ", inside each head", "left": ", on the rows of the state", "right": ", on the columns of the state"}.get(kind, "")
    return f"diagonal scalings and the products {listed}{inside}; never built as one matrix"


def _scan(c: Component, shown: Shown) -> dict[str, Any] | None:
    """The coefficients of the exact scan; None where there is none."""
    form = None if c.too_large else c.scan_form
    if form is None or c.lanes is None or c.jacobian is None or c.scan is None:
        return None
    names = symbol_names(c.lanes, c.jacobian, c.scan, shown)

    names |= {s: shown(f"part{i}.") for i, (s, _) in enumerate(form.locals, 1) if s not in names}

    def text(f: Any) -> str | None:
        return None if f is None else formula_text(f, names)

    bars = [bar for bar in form.conjugates.values() if any(bar in row for row in form.bars)]
    rows = [[*row, *(others.get(bar) for bar in bars)] for row, others in zip(form.a, form.bars or ({},) * len(form.a), strict=True)]
    return {
        "columns": [names[s] for s in (*(s.symbol for s in c.lanes.slots), *bars)],
        "a": [[text(f) for f in row] for row in rows],
        "b": [text(f) for f in form.b],
        **({"locals": [{"name": names[s], "text": text(f)} for s, f in form.locals]} if form.locals else {}),
    }


def _warnings(c: Component) -> list[str]:
    """What may make a recurrence grow without bound, where the equations say so."""
    found = []
    slots = {str(s.symbol): timed(s.state, s.lag) for s in c.lanes.slots} if c.lanes else {}
    for (state, symbol), size in c.growth.items():
        entry = f"|∂{timed(state, 0)}/∂{slots[symbol]}|"
        if len(c.growth) == 1 and 1 < size.low < math.inf:
            found.append(f"{entry} is at least {size.low:g}: the state grows at every step")
        elif 1 < size.high < math.inf:
            found.append(f"{entry} can be as large as {size.high:g}: an expansive step, so errors and gradients may grow")
        elif c.family == family.AFFINE and size == Interval(0.0, math.inf) and c.time_invariant and len(c.growth) == 1:
            found.append(f"nothing keeps {entry} below 1: the state grows without bound where it is larger")
    return found


# Costs


def _cost(cost: Cost, sizes: dict[str, int]) -> dict[str, Any]:
    intensity = cost.intensity(sizes)
    if isinstance(intensity, Dim):
        shown: float | str | None = size_text(intensity)
    else:
        shown = float(round(intensity, 3)) if isinstance(intensity, Fraction) else None
    return {
        "flops": _count(cost.flops, sizes),
        "special_functions": _count(cost.special, sizes),
        "bytes_forward": _count(cost.forward_bytes, sizes),
        "bytes_backward": _count(cost.backward_bytes, sizes),
        "intensity": shown,
    }


def _count(dim: Dim, sizes: dict[str, int]) -> dict[str, Any]:
    known = dim.names <= sizes.keys()
    return {"formula": size_text(dim), "value": float(dim.evaluate(sizes)) if known else None}
