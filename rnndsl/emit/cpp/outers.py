"""Gradients of matrices: the factors of outer products that are set aside for all steps."""

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.repeats import round_count
from rnndsl.emit.cpp.scope import Scope
from rnndsl.kernel.graph import Loop
from rnndsl.kernel.program import outer_layout


def loop_of(f: Scope, number: int) -> Loop:
    """The loop of that number."""
    return next(loop for n in f.loops if (loop := f.nodes[n].loop).number == number)


def outer_size(f: Scope, index: int, left: bool) -> str:
    """The entries of a factor of an outer product."""
    outer = f.program.outers[index]
    return cpp_text.bracketed(f.full_volume(f.nodes[outer.left if left else outer.right].shape))


def outer_rounds(f: Scope, index: int) -> tuple[str, str]:
    """The first slice of the static leaf that an outer product gives the gradient of, 0 where it is the leaf itself; and how many follow,
    or how many rounds add to it."""
    outer = f.program.outers[index]
    leaf = f.nodes[outer.leaf].leaf
    loop = loop_of(f, outer.loop) if outer.loop is not None else None
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
