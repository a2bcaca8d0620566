"""Loops over rows and axes, one entry at a time."""

from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.text import plus, times
from rnndsl.kernel.graph import Map
from rnndsl.kernel.schedule import viewed


class Rows:
    """A loop over rows with the pointers of what is read and written."""

    def __init__(self, f: Scope, n: int, reads: list[int], depth: int):
        self.f, self.depth = f, depth
        if f.has_rows:
            f.put("for (long r = 0; r < rows; ++r) {", depth)
        else:
            f.put("{", depth)
            f.put("constexpr long r = 0;", depth + 1)
        for base in dict.fromkeys([viewed(f.nodes, a) for a in reads] + [n]):
            pointer = f.base_pointer(base)
            if pointer is not None:
                f.put(pointer, depth + 1)

    def close(self) -> None:
        self.f.put("}", self.depth)


def loops(f: Scope, domain: tuple, names: list[str], depth: int) -> int:
    """Opens loops over axes; gives the depth inside."""
    for (d, marker), name in zip(domain, names, strict=True):
        e = f.extent(d, marker)
        if e is not None:
            f.put(f"for (long {name} = 0; {name} < {e}; ++{name})", depth)
            depth += 1
    return depth


def entry(f: Scope, a: int, domain: tuple, names: list[str], m: Map) -> str:
    """An entry of a value at positions of a domain."""
    view = f.view(a)
    in_unit = f.in_unit(view.base)
    offset = view.offset
    for j, k in enumerate(m):
        offset = plus(offset, times(f.place(domain[k][1], names[k], in_unit), view.strides[j]))
    return f"*({plus(f.pointer(view.base), offset)})"


def value(f: Scope, a: int, domain: tuple, names: list[str]) -> str:
    """An entry of a value at positions along its own axes."""
    return entry(f, a, domain, names, tuple(range(len(domain))))
