"""Numbers for the sizes of a cell: small ones that no tile divides, and that make every shape whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from rnndsl.checks.cell import Cell, Expr, Repeat, Type, walk
from rnndsl.checks.dims import Dim
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import check_sizes

FEW, MANY = 8, 24  # numbers a name that are tried, at first and then


@dataclass(frozen=True)
class Wish:
    """What sizes should be: `last` for one that is the last axis of a state, along which kernels run; the others in turn, so that they differ."""

    last: int
    others: tuple[int, ...]


ODD = Wish(67, (3, 5, 2))  # more than a block of 64 floats, and a remainder in every tile
SLOW = Wish(11, (3, 5, 2))  # for an interpreter of kernels: more than a tile of 32 for three sequences
SMALL = Wish(3, (2, 4))
LARGE = Wish(64, (32, 4, 16, 4))


def find_sizes(cell: Cell, given: dict[str, int], wish: Wish) -> dict[str, int]:
    """A number for every size of a cell. Raises Unfit for one that it does not have, and where no numbers fit."""
    check_sizes(given, cell.sizes)
    wished = _wished(cell, wish) | given
    rules = [d for d in dict.fromkeys(_dims(cell)) if not _holds_always(d)]
    bound = [n for n in cell.sizes if n not in given and any(n in d.names for d in rules)]
    for many in (FEW, MANY):
        near = product(*(_near(wished[n], many) for n in bound))
        for choice in sorted(near, key=lambda numbers: sum(cost for cost, _ in numbers)):
            found = wished | {n: value for n, (_, value) in zip(bound, choice, strict=True)}
            if all(_fits(d, found) for d in rules):
                return {n: found[n] for n in cell.sizes}
    asked = f", with {', '.join(f'{n}={v}' for n, v in given.items())}" if given else ""
    broken = next((d for d in rules if not _fits(d, wished)), rules[0])
    raise Unfit(f"{cell.name}: no sizes that were tried make {broken} a whole number{asked}; give them: --size {' '.join(f'{n}=…' for n in cell.sizes)}")


def _wished(cell: Cell, wish: Wish) -> dict[str, int]:
    ends = [d for v in cell.of_role("state") for d in (*v.type.heads, *v.type.axes)[-1:]]
    last = {name for d in ends for monomial, _ in d.terms for name, power in monomial if power > 0}
    others = [n for n in cell.sizes if n not in last]
    return {n: wish.last if n in last else wish.others[others.index(n) % len(wish.others)] for n in cell.sizes}


def _near(wished: int, many: int) -> list[tuple[int, int]]:
    """Numbers to try, the best first, with what each costs: as near as can be, rather odd than even, and not 1."""
    return sorted((abs(n - wished) + 2 * (n % 2 == 0 and n != wished) + 8 * (n == 1), n) for n in range(1, wished + MANY))[:many]


def _dims(cell: Cell) -> Iterator[Dim]:
    """Every length of an axis, and whatever else must be whole."""

    def of_type(t: Type) -> Iterator[Dim]:
        yield from (*t.heads, *t.axes)

    def of(expr: Expr) -> Iterator[Dim]:
        for node in walk(expr):
            yield from of_type(node.type)

    for v in cell.variables:
        yield from of_type(v.type)
        if v.value is not None:
            yield from of(v.value)
    for statement in cell.body:
        if isinstance(statement, Repeat):
            yield statement.high
    for expr in cell.expressions():
        yield from of(expr)


def _holds_always(d: Dim) -> bool:
    """Whether a length is a whole number from 1 on for any sizes."""
    return bool(d.terms) and all(f.denominator == 1 and f > 0 and all(p > 0 for _, p in m) for m, f in d.terms)


def _fits(d: Dim, sizes: dict[str, int]) -> bool:
    value = d.evaluate(sizes)
    return value.denominator == 1 and value >= 1
