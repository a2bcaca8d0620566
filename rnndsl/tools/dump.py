"""Each stage of the compiler as text that a person can read."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from rnndsl.calculus.intervals import ALL
from rnndsl.checks.cell import Cell, Draw, Hyper, Let, Ref, Repeat, Statement, Update, Variable
from rnndsl.compiler import STAGES, Compiled
from rnndsl.diagnostics import NOWHERE, Source, Span
from rnndsl.emit.carried import Carried
from rnndsl.plan.ir import Gemm, Map, Operation, Plan
from rnndsl.tools.expr_text import expr_text
from rnndsl.tools.formula_text import formula_text, mix_text, symbol_names
from rnndsl.tools.graph_text import graph_text
from rnndsl.tools.names import Shown, timed


def dump(result: Compiled, stage: str, standalone: bool = False) -> str:
    """One stage of a program, one of STAGES; ends with a newline. Raises RnnError where it is too large for that stage."""
    source = result.source
    match stage:
        case "ast":
            lines = list(_tree(result.file))
        case "cell":
            lines = _joined(_cell(c, source) for c in result.program.cells)
        case "plan":
            lines = _joined(_plan(p, source) for p in result.plans)
        case "system":
            lines = _joined(_system(s) for s in result.systems)
        case "graph":
            lines = _joined(graph_text(k, source) for k in result.kernels)
        case "kernels":
            return "\n".join(_kernels(c["cpu"], p.cell, "//") for c, p in zip(result.carried, result.plans, strict=True))
        case "triton":
            return "\n\n".join(_kernels(c["triton"], p.cell, "#") for c, p in zip(result.carried, result.plans, strict=True))
        case "module":
            return result.module(standalone)
        case _:
            raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _kernels(kernels: Carried, cell: Cell, comment: str) -> str:
    """The kernels of a cell as text, and why there are none for its other recurrences."""
    refused = [f"{comment} {cell.name}, {label}: no kernel, {why}\n" for label, why in kernels.refused]
    if not kernels.text and not refused:
        refused = [f"{comment} {cell.name}: no kernel, it has no recurrence\n"]
    return "\n".join([kernels.text, *kernels.texts.values()]) + "".join(refused)


def _joined(parts: Any) -> list[str]:
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if lines else list(part)
    return lines


# ast


def _tree(node: Any, label: str = "", depth: int = 0) -> Iterator[str]:
    """A node a line, its plain fields beside it, its children below."""
    pad = "  " * depth + (f"{label}: " if label else "")
    if not is_dataclass(node):
        yield f"{pad}{node!r}"
        return
    plain, below = [], []
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, Span) or value is None or value == ():
            continue
        if is_dataclass(value) or (isinstance(value, tuple) and any(is_dataclass(v) for v in value)):
            below.append((f.name, value))
        else:
            plain.append(f"{f.name}={value!r}")
    yield f"{pad}{type(node).__name__}{' ' if plain else ''}{' '.join(plain)}"
    for name, value in below:
        for child in value if isinstance(value, tuple) else (value,):
            yield from _tree(child, name, depth + 1)


# cell


def _from(span: Span, source: Source) -> str:
    return f"  # {source.name}:{source.line_of(span.start)}" if span != NOWHERE else ""


def _plainly(ref: Ref) -> str:
    return timed(ref.name, ref.lag) if ref.role == "state" or (ref.role == "input" and ref.lag) else ref.name


def _draw(draw: Draw) -> str:
    return f"{draw.name}({', '.join(expr_text(a, _plainly) for a in draw.args)})" if draw.args else draw.name


def _variable(v: Variable) -> str:
    text = f"  {v.role} {v.name}: {v.type}"
    if v.interval is not None:
        low = expr_text(v.interval.low, _plainly)
        text += f" > {low}" if v.interval.high is None else f" in ({low}, {expr_text(v.interval.high, _plainly)})"
    if v.value is not None:
        text += f" = {expr_text(v.value, _plainly)}"
    return text + (f" ~ {_draw(v.draw)}{' once' if v.draw.once else ''}" if v.draw else "")


def _cell(cell: Cell, source: Source) -> Iterator[str]:
    header = ", ".join(f"{h.name} = {h.default:g}" if isinstance(h, Hyper) else h for h in cell.header)
    yield f"cell {cell.name}({header}){_from(cell.span, source)}"
    yield from (_variable(v) for v in cell.variables)
    for s in cell.body:
        yield from _statement(s, _plainly, source, lambda name: name)
    for o in cell.outputs:
        yield f"  output {o.name}: {o.value.type} = {expr_text(o.value, _plainly)}{_from(o.span, source)}"


def _statement(s: Statement, name: Callable[[Ref], str], source: Source, local: Callable[[str], str], pad: str = "  ") -> Iterator[str]:
    match s:
        case Let():
            yield f"{pad}{local(s.name)}: {s.value.type} = {expr_text(s.value, name)}{_from(s.span, source)}"
        case Update():
            yield f"{pad}{s.state}[t]: {s.value.type} = {expr_text(s.value, name)}{_from(s.span, source)}"
        case Repeat():
            passed = "".join(f"; {local(p.name)} from {name(p.start)}, then {local(p.last)}" for p in s.passed)
            yield f"{pad}repeat {local(s.counter)} in {s.low}..{s.high}{passed}{_from(s.span, source)}"
            for let in s.body:
                yield from _statement(let, name, source, local, pad + "  ")


# plan


def _plan(plan: Plan, source: Source) -> Iterator[str]:
    shown = Shown(plan.cell, apart=True)

    def operation(o: Operation) -> Iterator[str]:
        if isinstance(o, Gemm):
            results = ", ".join(shown(r) for r in o.results)
            operand = expr_text(o.operand, shown.ref)
            yield f"  {results} = rows of {shown(o.matrix.name)} @ {operand}: {o.matrix.type}{_from(o.products[0].span, source)}"
        else:
            yield from _statement(o, shown.ref, source, shown)

    yield f"plan of {plan.cell.name}"
    if plan.constants:
        yield "once a call"
        for c in plan.constants:
            yield from operation(c)
    for stage in plan.stages:
        if isinstance(stage, Map):
            yield "all steps"
        else:
            yield f"scan {', '.join(stage.states)}; streams {', '.join(shown.ref(r) for r in stage.streams) or 'none'}"
        for o in stage.body:
            yield from operation(o)
    yield "outputs"
    yield from (f"  {name} = {expr_text(value, shown.ref)}" for name, value, _ in plan.outputs)
    yield "state tuple"
    for f in plan.carries:
        yield f"  {f.field}: {f.type} = {'the step number' if f.role == 'clock' else timed(f.source, f.lag)}"


# system


def _system(system: Any) -> Iterator[str]:
    yield f"system of {system.plan.cell.name}"
    shown = Shown(system.plan.cell)
    for c in system.components:
        yield f"component {', '.join(c.states)}: {c.family}, {c.structure.kind}, {c.structure.slots} slot{'s' * (c.structure.slots != 1)}"
        yield f"  {c.structure.reason}{'; time-invariant' if c.time_invariant else ''}"
        for state, b in c.bounds.items():
            yield f"  {state} in [{b.box.low:g}, {b.box.high:g}]{' assuming ' + ', '.join(b.assumes) if b.assumes and b.box != ALL else ''}"
        if c.too_large:
            yield f"  too large to show: {c.too_large}"
            continue
        if c.lanes is None or c.jacobian is None:
            continue
        names = symbol_names(c.lanes, c.jacobian, c.scan, shown)
        mixes = {m.symbol: m for m in c.lanes.mixes}
        definitions = c.lanes.definitions
        for symbol in c.lanes.order:
            text = mix_text(mixes[symbol], names) if symbol in mixes else formula_text(definitions[symbol], names)
            yield f"  {names[symbol]} = {text}"
        for symbol, e in c.jacobian.locals:
            yield f"  {names[symbol]} = {formula_text(e, names)}"
        for p in c.jacobian.updates:
            for symbol, e in p.by.items():
                name, text = f"∂{timed(p.root, 0)}/∂{names[symbol]}", formula_text(e, names)
                if text != name:  # it stands above
                    yield f"  {name} = {text}"
        for m, p in zip(c.lanes.mixes, c.jacobian.operands, strict=True):
            for symbol, e in p.by.items():
                yield f"  ∂(operand of {names[m.symbol]})/∂{names[symbol]} = {formula_text(e, names)}"
