"""Where the values of a step go: arrays of the call, memory of the unit, and the factors of gradients of matrices."""

from collections.abc import Sequence

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.repeats import next_name, round_count, round_number
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.segments import new_name
from rnndsl.emit.cpp.sums import new_carry_name, shared_index, shared_streams
from rnndsl.emit.cpp.text import plus, times
from rnndsl.kernel.graph import Loop, Result
from rnndsl.kernel.program import Sink, outer_layout


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
        shape = f.step.streams[index].shape
        base = f"{f.names(('stream_gradient', index))}.at<T>(b + r, t)"
        if index in shared_streams(f):
            place = plus(times(cpp_text.bracketed(shared_index(f, index, f.shape_domain(s.node))), "call.batch * call.steps"), "(b + r) * call.steps", "t")
            base = f"{f.names(('stream_parts', index))} + {times(cpp_text.bracketed(place), f.full_volume(shape))}"
        return base, f.row_major([f.dim(d) for d in shape]), False
    if kind in ("round", "round_gradient", "total"):
        return _of_round(f, s)
    if kind in ("outer_left", "outer_right"):
        left = kind == "outer_left"
        base = f"{f.names((kind, index))}.at<T>(b + r, t)"
        if s.loop is not None:
            base = plus(base, times(round_number(f, _loop(f, s.loop)), outer_size(f, index, left)))
        return base, outer_strides(f, index, left), False
    return "", tuple("0" for _ in f.nodes[s.node].shape), False


def _of_round(f: Scope, s: Sink) -> tuple[str, Sequence[str], bool]:
    """Of what a round hands on, or adds up. What goes backwards belongs to the loop that does; what goes forwards lies in the same memory for both."""
    kind, index = s.target.kind, s.target.index
    loop = next(n for n in f.loops if _number(f, n) == s.loop and (kind == "round" or f.nodes[n].op == "loop_back"))
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
    shared = kind == "stream_gradient" and index in shared_streams(f)
    if kind == "sequence" and f.states is not None:
        return None
    if f.direction not in ("forward", "backward") or shared or kind not in ("sequence", "output", "stream_gradient", "outer_left", "outer_right"):
        return None
    return f.ahead(f.names((kind, index)))


def _number(f: Scope, n: int) -> int:
    """The number of the loop that a node runs."""
    return f.nodes[n].loop.number


def _loop(f: Scope, number: int) -> Loop:
    """The loop of that number."""
    return next(f.nodes[n].loop for n in f.loops if _number(f, n) == number)


def outer_size(f: Scope, index: int, left: bool) -> str:
    """The entries of a factor of an outer product."""
    outer = f.program.outers[index]
    return cpp_text.bracketed(f.full_volume(f.nodes[outer.left if left else outer.right].shape))


def outer_rounds(f: Scope, index: int) -> tuple[str, str]:
    """The first slice of the static leaf that an outer product gives the gradient of, 0 where it is the leaf itself; and how many follow,
    or how many rounds add to it."""
    outer = f.program.outers[index]
    leaf = f.nodes[outer.leaf].leaf
    loop = _loop(f, outer.loop) if outer.loop is not None else None
    count = round_count(f, loop) if loop is not None else "1"
    if leaf.select is None:
        return "0", count
    if loop is not None and f.nodes[leaf.select].op == "counter":
        return f.dim(loop.low), count
    return f"long({f.scalar(leaf.select).code})", count


def outer_strides(f: Scope, index: int, left: bool) -> tuple[str, ...]:
    """Strides of the axes of an outer product's factor, where it is set aside for all steps."""
    m, node, order = outer_layout(f.program, index).factor(left)
    sizes = [f.dim(f.nodes[node].shape[m.index(k)]) for k in order]
    strides = f.row_major(list(sizes))
    return tuple(strides[order.index(k)] for k in m)
