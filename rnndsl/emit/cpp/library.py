"""Plan -> the C++ kernels of a cell as one text, and what the runtime must know to call them."""

from dataclasses import dataclass

from rnndsl.diagnostics import Source
from rnndsl.emit.cpp.function import Function
from rnndsl.emit.cpp.scope import state_numbers
from rnndsl.emit.cpp.sinks import outer_layout, outer_rounds
from rnndsl.emit.cpp.text import comment
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.kernel import program as programs
from rnndsl.kernel.limits import TooLarge, Unsupported
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.lowering import lower, lower_cell
from rnndsl.kernel.program import Program
from rnndsl.kernel.separate import Split, separate
from rnndsl.kernel.step import Step
from rnndsl.kernel.values import Array
from rnndsl.plan.ir import Plan
from rnndsl.plan.recurrence import Recurrence, recurrences
from rnndsl.version import VERSION


@dataclass(frozen=True)
class KernelText:
    """The functions of one recurrence, and how the runtime calls them."""

    label: str
    name: str
    title: str
    forward: list[str]
    backward: list[str]
    outers: list[str]
    slices: list[str]
    streams: tuple[int, ...]  # how many real arrays each stream is, and each static and carried value
    statics: tuple[int, ...]
    carries: tuple[int, ...]
    lags: tuple[int, ...]  # of the carried arrays
    partial: tuple[int, ...]  # streams of which only a part has a gradient


@dataclass(frozen=True)
class StepText:
    """The function of one step of a whole cell, from inputs to outputs."""

    name: str
    lines: list[str]
    shapes: list[str]  # of the outputs: how many axes, and their sizes
    slices: list[str]
    streams: tuple[int, ...]
    statics: tuple[tuple[str, int], ...]
    carries: tuple[int, ...]
    nearer: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class CppText:
    """The kernels of a cell: `text`, the C++ name of each size, the kernels, and why there are none for the other recurrences."""

    text: str
    sizes: tuple[tuple[str, str], ...]
    kernels: tuple[KernelText, ...]
    step: StepText | None
    refused: tuple[tuple[str, str], ...]


def cpp_text(plan: Plan, source: Source) -> CppText:
    """The kernels of a cell."""
    labels = labels_of(plan)
    names = KernelNames()
    for name in plan.cell.sizes:
        names(name)
    kernels: list[KernelText] = []
    refused: list[tuple[str, str]] = []
    for recurrence in recurrences(plan):
        label = labels[recurrence.scan.states]
        try:
            kernels.append(_kernel(plan, recurrence, source, names, label))
        except TooLarge as e:
            refused.append((label, str(e)))
        except Unsupported as e:
            refused.append((label, f"`{e}` has no kernel"))
    step = _step(plan, source, names) if not refused else None
    made = comment(f"Made by rnndsl {VERSION} from {source.name}, cell {plan.cell.name}. Change the equations there, not here.")
    text = rendered("cpp/kernels.cpp.jinja", made=made, kernels=kernels, step=step)
    return CppText(text.rstrip() + "\n", tuple((n, names(n)) for n in plan.cell.sizes), tuple(kernels), step, tuple(refused))


def _kernel(plan: Plan, recurrence: Recurrence, source: Source, names: KernelNames, label: str) -> KernelText:
    step = lower(plan, recurrence)
    forward = programs.forward(step)
    used = reachable(forward.nodes, [s.node for s in forward.sinks])
    heads = {s: len(plan.variable(s).type.heads) for s in recurrence.scan.states}
    shapes = [(len(array.shape), heads[array.name]) for array, _ in step.carries]
    split = separate(forward, used, shapes, state_numbers(step))
    hypers = tuple(h.name for h in plan.cell.hypers)

    def function(program: Program, direction: str) -> Function:
        return Function(program, step, split, direction, source, names, hypers)

    backward = programs.backward(step)
    back = function(backward, "backward")
    streams, statics, carries = _forms(step)
    return KernelText(
        label=label,
        name=_exported(names(("kernel", label), label)),
        title=", ".join(recurrence.scan.states),
        forward=function(forward, "forward").write(),
        backward=back.write(),
        outers=_outers(back, step),
        slices=_slices(back, step),
        streams=streams,
        statics=statics,
        carries=carries,
        lags=tuple(lag for _, lag in step.carries),
        partial=tuple(sorted(backward.partial)),
    )


def _step(plan: Plan, source: Source, names: KernelNames) -> StepText | None:
    """The function of one step; None where single steps run as sequences of one."""
    try:
        step = lower_cell(plan)
        program = programs.forward(step)
        f = Function(program, step, Split(), "step", source, names, tuple(h.name for h in plan.cell.hypers))
        lines = f.write()
    except Unsupported:
        return None
    shapes = [text for array, _ in step.outputs if array.part != "im" for text in (str(len(array.shape)), *map(f.dim, array.shape))]
    streams, statics, carries = _forms(step)
    given = [a.name for a in step.statics if a.part != "im"]
    carried = [(c.source, c.role, c.lag) for c in plan.carries if c.role != "clock"]
    return StepText(
        name=_exported(names(("step",), "step")),
        lines=lines,
        shapes=shapes,
        slices=_slices(f, step),
        streams=streams,
        statics=tuple(zip(given, statics, strict=True)),
        carries=carries,
        nearer=tuple(carried.index((name, role, lag - 1)) if lag > 1 else -1 for name, role, lag in carried),
        outputs=_form(tuple(a for a, _ in step.outputs)),
    )


def _exported(name: str) -> str:
    """What the functions and tables of a kernel begin with: none of them ends in `_`, as every other name of a program does."""
    return name.rstrip("_")


def _form(arrays: tuple[Array, ...]) -> tuple[int, ...]:
    return tuple(1 + (a.part == "re") for a in arrays if a.part != "im")


def _forms(step: Step) -> list[tuple[int, ...]]:
    """How many real arrays each stream, static and carried value is."""
    return [_form(arrays) for arrays in (step.streams, step.statics, tuple(array for array, _ in step.carries))]


def _slices(f: Function, step: Step) -> list[str]:
    """What the table of slices says."""
    found: dict[tuple[str, str, str], None] = {}
    for n in sorted(f.used):
        leaf = f.nodes[n].data
        if f.nodes[n].op == "static" and leaf.select is not None:
            found[(*f.range_of(leaf.select), f.dim(step.statics[leaf.index].shape[0]))] = None
    return [str(len(found)), *(text for entry in found for text in entry)]


def _outers(f: Function, step: Step) -> list[str]:
    """What the table of outer products says."""
    found = [str(len(f.program.outers))]
    for k, outer in enumerate(f.program.outers):
        leaf = f.nodes[outer.leaf]
        sizes = {**{m: f.nodes[outer.left].shape[j] for j, m in enumerate(outer.left_map)}}
        sizes.update({m: f.nodes[outer.right].shape[j] for j, m in enumerate(outer.right_map)})
        further, common, left, right = outer_layout(f, k)
        if any(m not in outer.left_map or m not in outer.right_map for m in further):
            raise Unsupported("a product with a broadcast matrix")
        found.append(str(leaf.data.index))
        found.extend(outer_rounds(f, k))
        for axes in (further, common, left, right):
            found.append(f.full_volume(tuple(sizes[m] for m in axes)))
        axes = [*common, *left, *right]
        found.append(str(len(axes)))
        found.extend(f.dim(sizes[m]) for m in axes)
        found.extend(str(axes.index(m)) for m in range(len(axes)))
    return found
