"""The step of a whole cell as what its template needs: one kernel from inputs and params to outputs and new states."""

from dataclasses import dataclass

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.triton.function import Function
from rnndsl.emit.triton.layout import called, listed
from rnndsl.emit.triton.records import FunctionText
from rnndsl.emit.triton.recurrence import entry_text, positions_of
from rnndsl.emit.triton.text import dim, factor, times
from rnndsl.emit.triton.uniform import Constants
from rnndsl.kernel.build import CellKernels
from rnndsl.kernel.channels import Access
from rnndsl.kernel.decode import SUMMED
from rnndsl.kernel.graph import Node
from rnndsl.kernel.limits import Unsupported


@dataclass(frozen=True)
class ReadText:
    """One value that a channel reads: its name, and where its entry lies."""

    name: str
    at: str


@dataclass(frozen=True)
class ProductText:
    """A sum along a row of a matrix, times a vector."""

    name: str
    matrix: ReadText
    along: str  # what an entry's position is from the row's first, of number c


@dataclass(frozen=True)
class VectorText:
    """A vector of `size` entries, and the products with it, which read it once."""

    vector: ReadText
    along: str
    size: str
    products: list[ProductText]


@dataclass(frozen=True)
class DecodeText:
    """What the template needs of one step of a cell: the parameters of its kernel, what it reads, and the function of one channel."""

    grid: list[str]
    positions: list[str]
    given: list[str]
    written: list[str]
    old: list[str]
    reads: list[ReadText]
    vectors: list[VectorText]
    made: list[str]  # names of the new values, then those of outputs
    function: FunctionText

    @property
    def call(self) -> str:
        return called(f"{listed([f'{m}_value' for m in self.made])} = {self.function.name}", self.function.parameters)


def decode_text(kernels: CellKernels, source: Source, names: KernelNames, constants: Constants) -> DecodeText | None:
    """The text of one step; None where a cell's step is no such kernel."""
    if kernels.step is None or kernels.step.decode is None:
        return None
    plan, step, decode = kernels.plan, kernels.step.step, kernels.step.decode
    channel, inner = decode.channel, names.child()
    sizes = {n: names(n) for n in plan.cell.sizes}
    values = {n: f"{names(n)}.value" for n in plan.cell.sizes}
    streams = [inner(("array", "stream", i), f"{a.label}_array") for i, a in enumerate(step.streams)]
    statics = [inner(("array", "static", i), f"{a.label}_array") for i, a in enumerate(step.statics)]

    def read(access: Access, key: object) -> ReadText:
        arrays, given = (streams, step.streams) if access.kind == "stream" else (statics, step.statics)
        own = Access(access.kind, access.array, access.offset, tuple(s for s in access.strides if s[0] != SUMMED))
        array = arrays[access.array]
        row = f"row * {array}_rows + " if access.kind == "stream" else ""
        return ReadText(inner(key, given[access.array].label), f"{array} + {row}{entry_text(own, sizes)}")

    def along(access: Access) -> str:
        return times("c", dim(dict(access.strides)[SUMMED], sizes))

    reads = [read(a, ("access", i)) for i, a in enumerate(channel.accesses)]
    products = [
        ProductText(inner(("dot", i), f"{step.statics[p.matrix.array].label}_x"), read(p.matrix, ("matrix", i)), along(p.matrix))
        for i, p in enumerate(decode.products)
    ]
    vectors = [
        VectorText(
            read(vector, ("vector", i)), along(vector), dim(size, sizes),
            [t for p, t in zip(decode.products, products, strict=True) if (p.vector, p.size) == (vector, size)],
        )
        for i, (vector, size) in enumerate(dict.fromkeys((p.vector, p.size) for p in decode.products))
    ]  # fmt: skip
    old = [inner(("old", i), f"{a.label}_{lag}") for i, (a, lag) in enumerate(channel.slots)]
    fresh = [i for i, (_, lag) in enumerate(channel.slots) if lag == 1]
    made = [inner(("new", i), channel.slots[i][0].label) for i in fresh]
    made += [inner(("out", i), a.label) for i, (a, _) in enumerate(channel.follows)]
    tables = {"old": old, "dot": [p.name for p in products], "stream": [r.name for r in reads], "static": [r.name for r in reads]}

    def leaf(node: Node) -> str:
        return tables[node.op][node.leaf.index]

    results = [*(channel.updates[i] for i in fresh), *(n for _, n in channel.follows)]
    parameters = [*old, *(r.name for r in reads), *(p.name for p in products)]
    try:
        lines = Function(channel, leaf, names.inside(parameters), constants, source, old[0]).lines([results])
    except Unsupported:
        return None
    used = [*channel.accesses, *(a for p in decode.products for a in (p.matrix, p.vector))]
    axes = sorted({axis for a in used for axis, _ in a.strides if axis != SUMMED})
    grid = [factor(dim(d, values)) for d in channel.grid]
    given = [*(n for a in streams for n in (a, f"{a}_rows")), *statics]
    written = [*(f"{o}_first" for o in old), *(f"{m}_final" for m in made)]
    function = FunctionText("cell_step", "New values of what is carried, and the outputs.", parameters, lines)
    return DecodeText(grid, positions_of(channel, axes, sizes), given, written, old, reads, vectors, made, function)
