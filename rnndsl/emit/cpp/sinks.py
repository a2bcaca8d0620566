"""Where the values of a step go: arrays of the call, memory of the unit, and the factors of gradients of matrices."""

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
    node = f.nodes[s.node]
    kind, index = s.target.kind, s.target.index
    in_unit = False
    if kind == "sequence" and f.states is not None:
        state = f.state_domain(index)
        strides = f.row_major([f.extent(*a) for a in state])
        base = plus(new_name(f, index), times("r", f.volume(state)))
        in_unit = True
    elif kind == "sequence":
        base = f"{f.names(('sequence', index))}.at<T>(b + r, t)"
        strides = f.row_major([f.dim(d) for d in f.step.carries[index][0].shape])
    elif kind == "output":
        base = f"{f.names(('output', index))}.at<T>({', '.join(f.row)})"
        strides = f.row_major([f.dim(d) for d in f.step.outputs[index][0].shape])
    elif kind == "carry_gradient":
        state = f.state_domain(index)
        strides = f.row_major([f.extent(*a) for a in state])
        base = plus(new_carry_name(f, index), times("r", f.volume(state)))
        in_unit = True
    elif kind == "stream_gradient":
        shape = f.step.streams[index].shape
        strides = f.row_major([f.dim(d) for d in shape])
        base = f"{f.names(('stream_gradient', index))}.at<T>(b + r, t)"
        if index in shared_streams(f):
            full = f.full_volume(shape)
            place = plus(times(cpp_text.bracketed(shared_index(f, index, f.shape_domain(s.node))), "call.batch * call.steps"), "(b + r) * call.steps", "t")
            base = f"{f.names(('stream_parts', index))} + {times(cpp_text.bracketed(place), full)}"
    elif kind in ("round", "round_gradient", "total"):
        # what goes backwards belongs to the loop that does; what goes forwards lies in the same memory for both
        loop = next(n for n in f.loops if _number(f, n) == s.loop and (kind == "round" or f.nodes[n].op == "loop_back"))
        if kind == "total":
            memory = next(r for r in f.kept if f.nodes[r].op == "result" and f.nodes[r].args == (loop,) and f.nodes[r].data == Result("totals", index))
            base = f.memory_of(memory)
        else:
            leaves = f.nodes[loop].loop.rounds if kind == "round" else f.nodes[loop].back.gradients
            memory = leaves[index]
            base = next_name(f, memory)
        local = f.shape_domain(memory)
        strides = f.row_major([f.extent(*a) for a in local])
        base = plus(base, times("r", f.volume(local)))
        in_unit = True
    elif kind in ("outer_left", "outer_right"):
        left = kind == "outer_left"
        strides = outer_strides(f, index, left)
        base = f"{f.names((kind, index))}.at<T>(b + r, t)"
        if s.loop is not None:
            base = plus(base, times(round_number(f, _loop(f, s.loop)), outer_size(f, index, left)))
    else:
        base, strides = "", tuple("0" for _ in node.shape)
    offset = times(f.dim(s.offset), strides[s.axis]) if strides and f.dim(s.offset) != "0" else "0"
    stride = "0"
    for j, (_, marker) in enumerate(domain):
        to = s.order[j] if kind not in ("outer_left", "outer_right") else j
        offset = plus(offset, times(f.place(marker, f"i{j}", in_unit), strides[to]))
        if j == lane_axis:
            stride = strides[to]
    return plus(base, offset), stride


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
