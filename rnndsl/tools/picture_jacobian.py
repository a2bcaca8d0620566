"""The sparsity of a component's Jacobian as pixels, and drawn."""

from typing import Any

from rnndsl.calculus.analysis import Component
from rnndsl.calculus.structure import LEFT, PER_HEAD, RIGHT
from rnndsl.tools.colours import EMPTY, INK, MIXED, OWN, PAPER
from rnndsl.tools.names import timed

_SIDE = 12  # pixels of one block


def block(c: Component, direct: bool, through: bool, side: int = _SIDE) -> list[list[int]]:
    """One block of a Jacobian as pixels: 0 empty, 1 from operations that mix channels, 2 channel by channel."""
    part, few = side // 3, side // 4

    def mixed(i: int, j: int) -> bool:
        if not through:
            return False
        match c.structure.kind:
            case _ if c.structure.kind == PER_HEAD:
                return i // part == j // part
            case _ if c.structure.kind == RIGHT:  # rows side by side, each a dense block
                return i // few == j // few
            case _ if c.structure.kind == LEFT:  # columns side by side: every few entries
                return i % few == j % few
        return True

    return [[2 if direct and i == j else 1 if mixed(i, j) else 0 for j in range(side)] for i in range(side)]


def blocks(c: Component) -> list[list[tuple[bool, bool]]]:
    """For each new state and slot: whether it is reached channel by channel, and whether through a mixing operation."""
    assert c.jacobian is not None and c.lanes is not None
    plain = c.jacobian.conjugates
    slots = [s.symbol for s in c.lanes.slots]
    reach: dict[Any, set] = {}
    for mix, p in zip(c.lanes.mixes, c.jacobian.operands, strict=True):
        keys = {plain.get(k, k) for k in p.by}
        reach[mix.symbol] = {k for k in keys if k in slots}.union(*(reach[k] for k in keys if k in reach))
    found = []
    for p in c.jacobian.updates:
        keys = {plain.get(k, k) for k in p.by}
        through = set().union(*(reach[k] for k in keys if k in reach))
        found.append([(s in keys, s in through) for s in slots])
    return found


def draw_jacobian(axes: Any, c: Component) -> None:
    """Draws the blocks of a component's Jacobian, with the names of its states."""
    from matplotlib.colors import ListedColormap

    assert c.jacobian is not None and c.lanes is not None
    grid = [[block(c, *b) for b in row] for row in blocks(c)]
    image = [[p for b in row for p in b[i]] for row in grid for i in range(_SIDE)]
    high, wide = len(image), len(image[0])
    axes.imshow(image, cmap=ListedColormap([EMPTY, MIXED, OWN]), vmin=0, vmax=2, interpolation="nearest", aspect="equal")
    for k in range(0, wide + 1, _SIDE):
        axes.axvline(k - 0.5, color=INK if k in (0, wide) else PAPER, linewidth=1.2 if k in (0, wide) else 2.5)
    for k in range(0, high + 1, _SIDE):
        axes.axhline(k - 0.5, color=INK if k in (0, high) else PAPER, linewidth=1.2 if k in (0, high) else 2.5)
    columns = [timed(s.state, s.lag) for s in c.lanes.slots]
    rows = [timed(s, 0) for s, _ in c.lanes.updates]
    axes.set_xticks([_SIDE * (i + 0.5) - 0.5 for i in range(len(columns))], columns, fontsize=9, color=INK)
    axes.set_yticks([_SIDE * (i + 0.5) - 0.5 for i in range(len(rows))], rows, fontsize=9, color=INK)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=3)
    for s in axes.spines.values():
        s.set_visible(False)
    kinds = {PER_HEAD: "dense in each head", LEFT: "mixes rows", RIGHT: "mixes columns"}
    text = kinds.get(c.structure.kind, c.structure.kind)
    axes.set_xlabel(f"{c.family}, {text}", fontsize=9, color=INK, labelpad=5)


