"""Plan -> the C++ kernels of a cell as one text, and what the runtime must know to call them."""

from dataclasses import dataclass, replace

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.function import Function
from rnndsl.emit.cpp.outers import outer_rounds
from rnndsl.emit.cpp.products import saveable
from rnndsl.emit.cpp.segments import segment, states_of
from rnndsl.emit.cpp.text import comment
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.step_form import StepForm, form, step_form
from rnndsl.emit.templates import rendered
from rnndsl.kernel.build import CellKernels, RecurrenceKernels, Refusal, Sweep
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.program import Program, outer_layout
from rnndsl.kernel.separate import Split
from rnndsl.origin import made_from
from rnndsl.plan.ir import Plan


@dataclass(frozen=True)
class KernelText:
    """The functions of one recurrence, and how the runtime calls them."""

    label: str
    name: str
    title: str
    forward: list[str]
    backward: list[str]
    outers: list[str]
    saves: list[str]
    streams: tuple[int, ...]  # how many real arrays each stream is, and each static and carried value
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    lags: tuple[int, ...]  # of the carried arrays
    partial: tuple[int, ...]  # streams of which only a part has a gradient
    shapes: list[str]  # of what follows: how many, and of each how many axes, and their sizes
    further: list[str]  # entries of the streams, and of the statics, that only what follows reads: how many, and of each
    follows: tuple[int, ...]  # how many real arrays each value is that follows
    own: tuple[int, int]  # how many streams and statics, first among them, are the recurrence's own
    segment: str | None  # how many steps lie between states that are kept, where nothing needs them all


@dataclass(frozen=True)
class StepText:
    """The function of one step of a whole cell, from inputs to outputs."""

    name: str
    lines: list[str]
    shapes: list[str]  # of the outputs: how many axes, and their sizes
    form: StepForm


@dataclass(frozen=True)
class CppText:
    """The kernels of a cell: `text`, the C++ name of each size, the kernels, and why there are none for the other recurrences."""

    text: str
    sizes: tuple[tuple[str, str], ...]
    kernels: tuple[KernelText, ...]
    step: StepText | None
    refused: tuple[tuple[str, str], ...]


def cpp_text(made: CellKernels, source: Source) -> CppText:
    """The text of the kernels of a cell."""
    plan = made.plan
    labels = labels_of(plan)
    names = KernelNames()
    for name in plan.cell.sizes:
        names(name)
    kernels: list[KernelText] = []
    refused: list[tuple[str, str]] = []
    for r in made.recurrences:
        label = labels[r.recurrence.scan.states]
        if isinstance(r.sweep, Refusal):
            refused.append((label, r.sweep.reason))
            continue
        try:
            kernels.append(_kernel(plan, r, r.followed or r.sweep, source, names, label))
        except Unsupported as e:
            refused.append((label, f"`{e}` has no kernel"))
    step = _step(made, source, names) if not refused else None
    title = comment(made_from(f"{source.name}, cell {plan.cell.name}"))
    text = rendered("cpp/kernels.cpp.jinja", made=title, kernels=kernels, step=step)
    return CppText(text.rstrip() + "\n", tuple((n, names(n)) for n in plan.cell.sizes), tuple(kernels), step, tuple(refused))


def _kernel(plan: Plan, r: RecurrenceKernels, sweep: Sweep, source: Source, names: KernelNames, label: str) -> KernelText:
    step, streams, statics = sweep.step, form(sweep.step.streams), form(sweep.step.statics)
    exit_ = r.swept.exit
    own = r.recurrence.own
    later = [step.streams[sum(streams[: own[0]]) :], step.statics[sum(statics[: own[1]]) :]]
    hypers = tuple(h.name for h in plan.cell.hypers)
    # nothing but what follows reads the states
    states = states_of(sweep) if exit_ and not exit_.whole else None

    def function(program: Program, direction: str, saved: tuple[int, ...] = ()) -> Function:
        return Function(program, step, sweep.split.innermost(step), direction, source, names, hypers, saved, states)

    program, from_streams = _without_twice(sweep.backward, function(sweep.backward, "backward"))
    found = (set(saveable(function(p, d))) for p, d in ((sweep.forward, "forward"), (program, "backward")))
    saved = tuple(sorted(set.intersection(*found)))
    back = function(program, "backward", saved)
    return KernelText(
        label=label,
        name=_exported(names(("kernel", label), label)),
        title=", ".join(dict.fromkeys(array.name for array, _ in step.carries)),
        forward=function(sweep.forward, "forward", saved).write(),
        backward=back.write(),
        outers=_outers(back, from_streams),
        saves=_saves(back),
        streams=streams,
        statics=statics,
        carries=form(tuple(array for array, _ in step.carries)),
        lags=tuple(lag for _, lag in step.carries),
        partial=tuple(sorted(sweep.backward.partial)),
        shapes=[str(len(step.outputs)), *(text for a, _ in step.outputs for text in (str(len(a.shape)), *map(back.dim, a.shape)))],
        further=[text for arrays in later for text in (str(len(arrays)), *(back.full_volume(a.shape) for a in arrays))],
        follows=form(tuple(array for array, _ in step.outputs)),
        own=own,
        segment=segment(back) if states is not None else None,
    )


def _step(kernels: CellKernels, source: Source, names: KernelNames) -> StepText | None:
    """The function of one step; None where single steps run as sequences of one."""
    if kernels.step is None:
        return None
    plan, step = kernels.plan, kernels.step.step
    try:
        f = Function(kernels.step.forward, step, Split(), "step", source, names, tuple(h.name for h in plan.cell.hypers))
        lines = f.write()
    except Unsupported:
        return None
    shapes = [text for array, _ in step.outputs if array.part != "im" for text in (str(len(array.shape)), *map(f.dim, array.shape))]
    return StepText(_exported(names(("step",), "step")), lines, shapes, step_form(plan, step))


def _exported(name: str) -> str:
    """What the functions and tables of a kernel begin with: none of them ends in `_`, as every other name of a program does."""
    return name.rstrip("_")


def _without_twice(program: Program, f: Function) -> tuple[Program, dict[int, int]]:
    """A program that writes no left factor of an outer product which is the gradient of a stream: of each of these the number of the stream."""
    nodes = program.nodes

    def value(n: int) -> int:
        node = nodes[n]
        whole = tuple(range(len(node.shape)))
        return value(node.args[0]) if node.op == "copy" and node.maps == (whole,) and nodes[node.args[0]].shape == node.shape else n

    def pieces(n: int) -> dict[tuple[int, Dim], int]:
        """What a value is put together of: by axis and offset."""
        node = nodes[value(n)]
        if node.op != "concat":
            return {(0, Dim.of(0)): value(n)}
        axis, sizes = node.of(int), [nodes[a].shape[node.of(int)] for a in node.args]
        return {(axis, sum(sizes[:k], Dim.of(0))): value(a) for k, a in enumerate(node.args)}

    gradients: dict[int, dict[tuple[int, Dim], int]] = {}  # of streams: what is written of each
    for s in program.sinks:
        if s.target.kind == "stream_gradient" and s.order == tuple(range(len(s.order))):
            gradients.setdefault(s.target.index, {})[s.axis, s.offset] = value(s.node)
    found: dict[int, int] = {}
    for k, outer in enumerate(program.outers):
        m, node, order = outer_layout(program, k).factor(left=True)
        if outer.loop is None and list(m) == order:
            same = [i for i, of in gradients.items() if ("stream_gradient", i) not in f.shared and f.step.streams[i].shape == nodes[node].shape and of == pieces(node)]
            if same:
                found[k] = same[0]
    sinks = tuple(s for s in program.sinks if s.target.kind != "outer_left" or s.target.index not in found)
    return replace(program, sinks=sinks), found


def _saves(f: Function) -> list[str]:
    """What the table of saved products says."""
    found = [str(len(f.saved))]
    for n in f.saved:
        found += [f.full_volume(f.nodes[n].shape), f.full_volume(f.nodes[n].summed)]
    return found


def _outers(f: Function, from_streams: dict[int, int]) -> list[str]:
    """What the table of outer products says."""
    found = [str(len(f.program.outers))]
    for k, outer in enumerate(f.program.outers):
        layout = outer_layout(f.program, k)
        found.append(str(f.nodes[outer.leaf].leaf.index))
        found.extend(outer_rounds(f, k))
        found.extend(f.full_volume(layout.shape(axes)) for axes in (layout.further, layout.common, layout.left, layout.right))
        axes = layout.axes
        found.append(str(len(axes)))
        found.extend(f.dim(d) for d in layout.shape(axes))
        found.extend(str(axes.index(m)) for m in range(len(axes)))
        found.append(str(from_streams.get(k, -1)))
    return found
