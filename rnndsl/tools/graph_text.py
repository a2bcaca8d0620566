"""Graphs of kernels as text: a node a line, with its shape, what it reads and where in the program it comes from; then what is wanted of it."""

from collections.abc import Iterator, Sequence

from rnndsl.diagnostics import NOWHERE, Source
from rnndsl.kernel.build import CellKernels, RecurrenceKernels, Refusal
from rnndsl.kernel.channel_kernel import ChannelKernel
from rnndsl.kernel.graph import Leaf, Node
from rnndsl.kernel.linear import Matrix
from rnndsl.kernel.program import Program
from rnndsl.kernel.step import Step


def graph_text(kernels: CellKernels, source: Source) -> Iterator[str]:
    """The graphs of a cell, line by line."""
    yield f"cell {kernels.plan.cell.name}"
    for r in kernels.recurrences:
        yield from _recurrence(r, source)
    if kernels.step is not None:
        yield from _program("one step of the cell", kernels.step.forward, kernels.step.step, source)


def _recurrence(r: RecurrenceKernels, source: Source) -> Iterator[str]:
    states = ", ".join(r.recurrence.scan.states)
    if isinstance(r.sweep, Refusal):
        yield from ("", f"{states}: no kernel of rows, {r.sweep.reason}")
    else:
        yield from _program(f"{states}: a step", r.sweep.forward, r.sweep.step, source)
        yield from _program(f"{states}: a step backwards", r.sweep.backward, r.sweep.step, source)
    if isinstance(r.channel, Refusal):
        yield from ("", f"{states}: no kernel of channels, {r.channel.reason}")
    else:
        yield from _channel(states, r.channel, source)


def _program(title: str, program: Program, step: Step, source: Source) -> Iterator[str]:
    given = {"stream": step.streams, "static": step.statics, "old": tuple(a for a, _ in step.carries)}
    read = {n: given[node.op][node.leaf.index].label for n, node in enumerate(program.nodes) if node.op in given}
    yield from ("", title)
    yield from _nodes(program.nodes, read | dict(program.names), source)
    for s in program.sinks:
        yield f"  {s.target.kind} {s.target.index} = {s.node}"


def _channel(states: str, kernel: ChannelKernel, source: Source) -> Iterator[str]:
    channel, step = kernel.channel, kernel.step
    given = {"stream": step.streams, "static": step.statics}
    slots = [f"{a.label}[t-{lag}]" for a, lag in channel.slots]
    read = {}
    for n, node in enumerate(channel.builder.nodes):
        if node.op in given:
            read[n] = given[node.op][channel.accesses[node.leaf.index].array].label
        elif node.op == "old":
            read[n] = slots[node.leaf.index]
    yield from ("", f"{states}: a channel")
    yield from _nodes(channel.builder.nodes, read | dict(channel.names), source)
    yield f"  old: {', '.join(slots)}"
    yield f"  new: {', '.join(map(str, channel.updates))}"
    if kernel.exact is not None:
        yield from _matrix(f"{kernel.exact.family} matrix", kernel.exact.a)
        yield f"  what is added: {_row(kernel.exact.b)}"
    if kernel.newton is not None:
        yield from _matrix("Newton's matrix, ∂ new / ∂ old", kernel.newton)
    if kernel.back is not None:
        yield from _matrix("of the backward pass, ∂ new / ∂ old", kernel.back)
    yield f"  gradients of old: {_row(kernel.pullback.slots)}"
    yield f"  gradients of what it reads: {_row(kernel.pullback.accesses)}"


def _matrix(title: str, rows: Matrix) -> Iterator[str]:
    yield f"  {title}"
    yield from (f"    {_row(row)}" for row in rows)


def _row(nodes: Sequence[int | None]) -> str:
    return "  ".join("." if n is None else str(n) for n in nodes) or "none"


def _nodes(nodes: Sequence[Node], names: dict[int, str], source: Source) -> Iterator[str]:
    for n, node in enumerate(nodes):
        shape = f"[{', '.join(map(str, node.shape))}]" if node.shape else ""
        place = f"line {source.line_of(node.span.start)}" if node.span != NOWHERE else ""
        yield f"{n:5}  {_formula(node):40} {shape:12} {names.get(n, ''):10} {place}".rstrip()


def _formula(node: Node) -> str:
    """An operation and its arguments; one that does not run along the axes in order says along which it does."""
    if isinstance(node.data, Leaf):
        return f"{node.op} {node.data.index}" + (f", slice {node.data.select}" if node.data.select is not None else "")
    args = []
    for i, a in enumerate(node.args):
        m = node.maps[i] if node.maps else ()
        args.append(str(a) if m == tuple(range(len(m))) else f"{a}{list(m)}")
    summed = f" over {', '.join(map(str, node.summed))}" if node.summed else ""
    data = "" if node.data is None or node.op in ("loop", "loop_back") else f" {node.data}"
    return " ".join([node.op, *args]) + summed + data
