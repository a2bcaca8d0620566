"""Where the values of a step go: arrays of the call, memory of the unit, and the factors of gradients of matrices."""

from collections.abc import Sequence

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.outers import loop_of, outer_size, outer_strides
from rnndsl.emit.cpp.repeats import next_name, round_number
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.segments import new_name
from rnndsl.emit.cpp.sums import entries, new_carry_name, shared_index
from rnndsl.emit.cpp.text import plus, times
from rnndsl.kernel.graph import Result
from rnndsl.kernel.program import Sink


def sink_address(f: Scope, s: Sink, domain: tuple, lane_axis: int | None) -> tuple[str, str]:
    """Pointer and stride along the lanes of where a sink's node goes."""
    base, strides, in_unit = _begins(f, s)
    offset = times(f.dim(s.offset), strides[s.axis]) if strides and f.dim(s.offset) != "0" else "0"
    stride = "0"
    for j, (_, marker) in enumerate(domain):
        to = s.order[j] if s.target.kind not in ("outer_left", "outer_right") else j
        offset = plus(offset, times(f.place(marker, f"i{j}", in_unit), strides[to]))
        if j == lane_axis:
            stride = strides[to]
    return plus(base, offset), stride


def _begins(f: Scope, s: Sink) -> tuple[str, Sequence[str], bool]:
    """Where the array that a sink writes to begins for a step, its strides, and whether it lies in memory of the unit."""
    kind, index = s.target.kind, s.target.index
    if kind in ("sequence", "carry_gradient") and (kind == "carry_gradient" or f.states is not None):
        state = f.state_domain(index)
        name = new_name(f, index) if kind == "sequence" else new_carry_name(f, index)
        return plus(name, times("r", f.volume(state))), f.row_major([f.extent(*a) for a in state]), True
    if kind == "sequence":
        return f"{f.names(('sequence', index))}.at<T>(b + r, t)", f.row_major([f.dim(d) for d in f.step.carries[index][0].shape]), False
    if kind == "output":
        return f"{f.names(('output', index))}.at<T>({', '.join(f.row)})", f.row_major([f.dim(d) for d in f.step.outputs[index][0].shape]), False
    if kind == "stream_gradient":
        return _of_step(f, s), f.row_major([f.dim(d) for d in f.step.streams[index].shape]), False
    if kind in ("round", "round_gradient", "total"):
        return _of_round(f, s)
    if kind in ("outer_left", "outer_right"):
        left = kind == "outer_left"
        base = _of_step(f, s)
        if s.loop is not None:
            base = plus(base, times(round_number(f, loop_of(f, s.loop)), outer_size(f, index, left)))
        return base, outer_strides(f, index, left), False
    return "", tuple("0" for _ in f.nodes[s.node].shape), False


def _of_step(f: Scope, s: Sink) -> str:
    """Where what a step gives of an array begins: in the array, or in a unit's part of what several add to."""
    target = s.target.kind, s.target.index
    if target not in f.shared:
        return f"{f.names(target)}.at<T>(b + r, t)"
    number = cpp_text.bracketed(shared_index(f, target, f.shape_domain(s.node)))
    place = plus(times(number, "call.batch * call.steps"), "(b + r) * call.steps", "t")
    return f"{f.names(('parts', *target))} + {times(cpp_text.bracketed(place), entries(f, target))}"


def _of_round(f: Scope, s: Sink) -> tuple[str, Sequence[str], bool]:
    """Of what a round hands on, or adds up. What goes backwards belongs to the loop that does; what goes forwards lies in the same memory for both."""
    kind, index = s.target.kind, s.target.index
    loop = next(n for n in f.loops if f.nodes[n].loop.number == s.loop and (kind == "round" or f.nodes[n].op == "loop_back"))
    if kind == "total":
        memory = next(r for r in f.kept if f.nodes[r].op == "result" and f.nodes[r].args == (loop,) and f.nodes[r].data == Result("totals", index))
        base = f.memory_of(memory)
    else:
        memory = (f.nodes[loop].loop.rounds if kind == "round" else f.nodes[loop].back.gradients)[index]
        base = next_name(f, memory)
    local = f.shape_domain(memory)
    return plus(base, times("r", f.volume(local))), f.row_major([f.extent(*a) for a in local]), True


def ahead_of_sink(f: Scope, s: Sink) -> str | None:
    """How far from what this step writes that lies which a step AHEAD writes; None of what is in a cache anyway."""
    kind, index = s.target.kind, s.target.index
    if kind == "sequence" and f.states is not None:
        return None
    written = ("sequence", "output", "stream_gradient", "outer_left", "outer_right")
    if f.direction not in ("forward", "backward") or kind not in written or (kind, index) in f.shared:
        return None
    return f.ahead(f.names((kind, index)))
