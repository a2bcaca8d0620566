"""A step as groups: which nodes are computed in one loop, and which values are kept in memory between loops.

A node is computed in the first loop that may hold it: that of its arguments where both run over the same domain entry by entry, else
a later one. A sum is taken in the loop that computes what is summed.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.kernel.graph import REDUCTIONS, SCALARS, Node
from rnndsl.kernel.program import Sink


@dataclass
class Group:
    """One loop nest over a `domain`, or one operation that is no formula of entries (`single`)."""

    domain: tuple[tuple[Dim, Hashable], ...]
    nodes: list[int] = field(default_factory=list)  # elementwise ones, in order
    sums: list[int] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)
    single: int | None = None


@dataclass(frozen=True)
class Schedule:
    """Groups in order; `uniform` are scalars that no row or step changes; `kept` are the nodes that have memory."""

    groups: tuple[Group, ...]
    uniform: tuple[int, ...]
    kept: frozenset[int]


def viewed(nodes: tuple[Node, ...], n: int) -> int:
    """What a slice or another shape of a value is a view of."""
    while nodes[n].op in ("slice", "reshape"):
        n = nodes[n].args[0]
    return n


def schedule(nodes: tuple[Node, ...], sinks: list[Sink], computed: set[int], domain_key: "DomainKey") -> Schedule:
    """The groups that compute some nodes, what else they read being there already, and put them where `sinks` say."""
    used = sorted(n for n in computed if not nodes[n].is_leaf)
    uniform = _uniform(nodes, sorted(computed)) - {s.node for s in sinks}
    level: dict[int, int] = {}
    place: dict[int, tuple] = {}  # of each computed node: the key of its group
    kept: set[int] = set()

    def needs(key: Hashable, a: int, m: tuple[int, ...]) -> int:
        """The first level at which a node of domain `key` may read argument `a`."""
        base = viewed(nodes, a)
        if base not in level:
            return 0
        entry_by_entry = nodes[a].is_elementwise and place[a][1] == key and m == tuple(range(len(nodes[a].shape)))
        return level[base] if entry_by_entry else level[base] + 1

    for n in used:
        node = nodes[n]
        if n in uniform or node.op in ("slice", "reshape"):
            continue
        if node.is_elementwise or node.op in REDUCTIONS:
            key = domain_key(n)
            maps = node.maps if node.is_elementwise else (tuple(range(len(node.domain))),)
            level[n] = max((needs(key, a, m) for a, m in zip(node.args, maps, strict=True)), default=0)
            place[n] = (level[n], key)
        else:
            level[n] = max((level[viewed(nodes, a)] + 1 for a in node.args if viewed(nodes, a) in level), default=0)
            place[n] = (level[n], ("single", n))
    _postpone(nodes, used, {s.node for s in sinks}, level, place)
    groups: dict[tuple, Group] = {}
    for n in used:
        if n not in place:
            continue
        if place[n][1] == ("single", n):
            groups[place[n]] = Group((), single=n)
            continue
        group = groups.setdefault(place[n], Group(place[n][1]))
        (group.nodes if nodes[n].is_elementwise else group.sums).append(n)
    for sink in sinks:
        groups[place[sink.node]].sinks.append(sink)
    for n in used:
        node = nodes[n]
        for i, a in enumerate(node.args):
            base = viewed(nodes, a)
            if base not in place or n in uniform:
                continue
            direct = a == base and nodes[a].is_elementwise and n in place and place[a] == place[n]
            entry_by_entry = node.op in REDUCTIONS or (node.maps and node.maps[i] == tuple(range(len(nodes[a].shape))))
            if not (direct and entry_by_entry):
                kept.add(base)
    kept.update(n for n in place if nodes[n].op in REDUCTIONS)
    order = sorted(groups, key=lambda k: (k[0], _single_last(k)))
    return Schedule(tuple(groups[k] for k in order), tuple(n for n in used if n in uniform), frozenset(kept))


def _postpone(nodes: tuple[Node, ...], used: list[int], wanted: set[int], level: dict[int, int], place: dict[int, tuple]) -> None:
    """Moves a node to the loop of those that read it, where all do so entry by entry in one loop: its value then needs no memory."""
    readers: dict[int, list[tuple[int, bool]]] = {}
    for n in used:
        node = nodes[n]
        maps = node.maps if node.is_elementwise else (tuple(range(len(node.domain))),) * len(node.args)
        for a, m in zip(node.args, maps, strict=True):
            direct = n in place and nodes[a].is_elementwise and (node.is_elementwise or node.op in REDUCTIONS)
            readers.setdefault(viewed(nodes, a), []).append((n, direct and m == tuple(range(len(nodes[a].shape)))))
    for n in reversed(used):
        if n not in place or not nodes[n].is_elementwise or n in wanted:
            continue
        found = readers.get(n, [])
        places = {place.get(r) for r, direct in found if direct}
        if len(places) == 1 and all(direct for _, direct in found):
            (there,) = places
            if there is not None and there[1] == place[n][1]:
                place[n], level[n] = there, there[0]


def _single_last(key: tuple) -> int:
    return int(isinstance(key[1], tuple) and key[1][:1] == ("single",))


def _uniform(nodes: tuple[Node, ...], used: list[int]) -> set[int]:
    """Scalars made of numbers, sizes and hyperparameters alone."""
    found: set[int] = set()
    for n in used:
        node = nodes[n]
        if (node.op in SCALARS and node.op != "counter") or (node.is_elementwise and not node.shape and all(a in found for a in node.args)):
            found.add(n)
    return {n for n in found if not nodes[n].is_leaf}


class DomainKey:
    """Tells whether two nodes run over the same domain: axes of one size, divided alike among units."""

    def __init__(self, nodes: tuple[Node, ...], local: "dict[tuple[int, int], Hashable]"):
        self.nodes, self.local = nodes, local

    def __call__(self, n: int, shape_only: bool = False) -> tuple[tuple[Dim, Hashable], ...]:
        node = self.nodes[n]
        if node.op in REDUCTIONS and not shape_only:  # in the order of what is summed
            return tuple((node.domain[k], self.local.get((n, k))) for k in node.maps[0])
        axes = node.shape if shape_only else node.domain
        return tuple((d, self.local.get((n, k))) for k, d in enumerate(axes))

