"""The step of a whole cell as what its template needs: one kernel from inputs and params to outputs and new states."""

from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.triton.function import Constants, Function
from rnndsl.emit.triton.recurrence import array_name, entry_text, positions_of
from rnndsl.emit.triton.text import dim
from rnndsl.kernel.build import CellKernels
from rnndsl.kernel.channels import Access
from rnndsl.kernel.decode import SUMMED
from rnndsl.kernel.graph import Node
from rnndsl.kernel.limits import Unsupported


@dataclass(frozen=True)
class ReadText:
    """One value that a channel reads: its name, that of its array, and where its entry lies, in a row of the batch for a stream."""

    name: str
    array: str
    entry: str
    is_stream: bool


@dataclass(frozen=True)
class ProductText:
    """A sum over `size` entries of a row of a matrix times a vector; strides are those along the sum."""

    name: str
    size: str
    matrix: ReadText
    matrix_stride: str
    vector: ReadText
    vector_stride: str


@dataclass(frozen=True)
class DecodeText:
    """What the template needs of one step of a cell. `kept`: the numbers of the carried values that are made anew."""

    grid: list[str]
    positions: list[str]
    streams: list[str]  # arrays
    statics: list[str]
    reads: list[ReadText]
    products: list[ProductText]
    old: list[str]
    made: list[str]  # names of the new values, then those of outputs
    parameters: list[str]
    lines: list[str]


def decode_text(kernels: CellKernels, source: Source, names: KernelNames, constants: Constants) -> DecodeText | None:
    """The text of one step; None where a cell's step is no such kernel."""
    if kernels.step is None or kernels.step.decode is None:
        return None
    plan, step, decode = kernels.plan, kernels.step.step, kernels.step.decode
    channel, inner = decode.channel, names.child()
    sizes = {n: names(n) for n in plan.cell.sizes}
    values = {n: f"{names(n)}.value" for n in plan.cell.sizes}
    streams = [inner(("array", "stream", i), f"{array_name(a)}_array") for i, a in enumerate(step.streams)]
    statics = [inner(("array", "static", i), f"{array_name(a)}_array") for i, a in enumerate(step.statics)]

    def read(access: Access, key: object) -> ReadText:
        arrays, given = (streams, step.streams) if access.kind == "stream" else (statics, step.statics)
        own = Access(access.kind, access.array, access.offset, tuple(s for s in access.strides if s[0] != SUMMED))
        return ReadText(inner(key, array_name(given[access.array])), arrays[access.array], entry_text(own, sizes), access.kind == "stream")

    def stride(access: Access) -> str:
        return dim(dict(access.strides).get(SUMMED, Dim.of(0)), sizes)

    reads = [read(a, ("access", i)) for i, a in enumerate(channel.accesses)]
    products = [
        ProductText(inner(("dot", i), f"{array_name(step.statics[p.matrix.array])}_x"), dim(p.size, sizes), read(p.matrix, ("matrix", i)),
                    stride(p.matrix), read(p.vector, ("vector", i)), stride(p.vector))
        for i, p in enumerate(decode.products)
    ]  # fmt: skip
    old = [inner(("old", i), f"{array_name(a)}_{lag}") for i, (a, lag) in enumerate(channel.slots)]
    fresh = [i for i, (_, lag) in enumerate(channel.slots) if lag == 1]
    made = [inner(("new", i), array_name(channel.slots[i][0])) for i in fresh]
    made += [inner(("out", i), array_name(a)) for i, (a, _) in enumerate(channel.follows)]
    tables = {"old": old, "dot": [p.name for p in products], "stream": [r.name for r in reads], "static": [r.name for r in reads]}

    def leaf(node: Node) -> str:
        return tables[node.op][node.leaf.index]

    results = [*(channel.updates[i] for i in fresh), *(n for _, n in channel.follows)]
    parameters = [*old, *(r.name for r in reads), *(p.name for p in products)]
    try:
        lines = Function(channel, leaf, names.inside(parameters), constants, source, old[0]).lines(results)
    except Unsupported:
        return None
    used = [*channel.accesses, *(a for p in decode.products for a in (p.matrix, p.vector))]
    axes = sorted({axis for a in used for axis, _ in a.strides if axis != SUMMED})
    grid = [dim(d, values) for d in channel.grid]
    return DecodeText(grid, positions_of(channel, axes, sizes), streams, statics, reads, products, old, made, parameters, lines)
