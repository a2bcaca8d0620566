"""The equations of one step as a graph of real values, and what it reads, carries and returns."""

from dataclasses import dataclass

from rnndsl.kernel.graph import Builder
from rnndsl.kernel.values import Array


@dataclass(frozen=True)
class Step:
    """One step: `updates` are the nodes of the values that the carries (state[t-lag], by lag) take next; none where only outputs are made of them."""

    builder: Builder
    streams: tuple[Array, ...]
    statics: tuple[Array, ...]
    carries: tuple[tuple[Array, int], ...]  # and their lag
    updates: tuple[int, ...]
    names: tuple[tuple[int, str], ...]  # of nodes that are locals of the program
    outputs: tuple[tuple[Array, int], ...] = ()
