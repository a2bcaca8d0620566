"""Loops over rows and axes, one entry at a time."""

from collections.abc import Hashable
from dataclasses import dataclass

from rnndsl.emit.cpp.scope import Domain, Scope
from rnndsl.emit.cpp.text import plus, times
from rnndsl.kernel.graph import Map
from rnndsl.kernel.schedule import viewed


class Rows:
    """A loop over rows with the pointers of what is read and written."""

    def __init__(self, f: Scope, n: int | None, reads: list[int], depth: int):
        self.f, self.depth = f, depth
        self.end = f.open_rows(depth)
        for base in dict.fromkeys([viewed(f.nodes, a) for a in reads] + ([] if n is None else [n])):
            pointer = f.base_pointer(base)
            if pointer is not None:
                f.put(pointer, depth + 1)

    def close(self) -> None:
        self.f.put(self.end, self.depth)


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


@dataclass(frozen=True)
class Lie:
    """Where the entries of a domain lie: at `base`, those of each axis a stride apart."""

    base: str
    strides: tuple[str, ...]


def in_unit(f: Scope, domain: Domain, base: str) -> Lie:
    """Entries in memory of a unit, which has its part of them alone."""
    return Lie(base, f.row_major([f.extent(*a) for a in domain]))


def in_array(f: Scope, domain: Domain, base: str) -> Lie:
    """A unit's part of an array that holds all."""
    strides = f.row_major([f.dim(d) for d, _ in domain])
    return Lie(plus(base, *(times(_origin(f, marker), s) for (_, marker), s in zip(domain, strides, strict=True))), strides)


def of_value(f: Scope, a: int, domain: Domain) -> Lie:
    """A unit's part of a value."""
    view = f.view(a)
    own = f.in_unit(view.base)
    origins = ["0" if own else _origin(f, marker) for _, marker in domain]
    offset = plus(view.offset, *(times(o, s) for o, s in zip(origins, view.strides, strict=True)))
    return Lie(plus(f.pointer(view.base), offset), view.strides)


def _origin(f: Scope, marker: Hashable) -> str:
    """The first position of a unit along an axis."""
    return f.coordinate(marker) if isinstance(marker, tuple) else "start" if marker == "block" else "0"


def write_copy(f: Scope, domain: Domain, source: Lie, target: Lie, depth: int, ahead: str | None = None) -> None:
    """Copies a unit's part of something: what lies in a row on both sides in one piece. ahead: how far on lies what is soon written, where that is to be
    asked for."""
    axes = [k for k, a in enumerate(domain) if f.extent(*a) is not None]
    count = "1"
    while axes and source.strides[axes[-1]] == target.strides[axes[-1]] == count:
        count = times(count, f.extent(*domain[axes.pop()]) or "1")
    for k in axes:
        f.put(f"for (long i{k} = 0; i{k} < {f.extent(*domain[k])}; ++i{k})", depth)
        depth += 1
    start, to = (plus(lie.base, *(times(f"i{k}", lie.strides[k]) for k in axes)) for lie in (source, target))
    if ahead is not None:
        f.put(f"copy_ahead<T, {count}>({start}, {to}, {ahead});", depth)
    else:
        f.put(f"*({to}) = *({start});" if count == "1" else f"copy({start}, {to}, {count});", depth)


def value(f: Scope, a: int, domain: tuple, names: list[str]) -> str:
    """An entry of a value at positions along its own axes."""
    return entry(f, a, domain, names, tuple(range(len(domain))))
