"""Step of a whole cell -> Decode: one channel of it, whose inputs are multiplied with matrices on the way.

It is what one call computes that makes one step, where channels meet in products of the inputs alone.
"""

from dataclasses import dataclass, field

from rnndsl.checks.dims import Dim
from rnndsl.kernel.channels import NOTHING, Access, Channel, ChannelRewriter
from rnndsl.kernel.graph import Node
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.step import Step

SUMMED = -1  # the axis that a product sums over, among those of the grid


@dataclass(frozen=True)
class Product:
    """Σ over `size` entries of a matrix's row times a vector. The strides of both accesses have an entry for the axis SUMMED."""

    matrix: Access
    vector: Access
    size: Dim


@dataclass(frozen=True)
class Decode:
    """One channel of the step of a cell; `products` are its leaves of kind `dot`, by number."""

    channel: Channel
    products: tuple[Product, ...]


def decode_of(step: Step) -> Decode:
    """One channel of a cell's step. Raises Unsupported for what no channel has."""
    if not step.carries:
        raise Unsupported("there is no state")
    grid = step.carries[0][0].shape
    if any(array.shape != grid for array, _ in (*step.carries, *step.outputs)):
        raise Unsupported("its states and outputs have different shapes")
    rewriter = _Decoder(step)
    channel = rewriter.channel()
    return Decode(channel, tuple(rewriter.products))


@dataclass
class _Decoder(ChannelRewriter):
    products: dict[Product, int] = field(default_factory=dict)

    def _value(self, n: int, axes: tuple[int, ...]) -> int:
        node = self.step.builder[n]
        return self._product(node, axes) if node.op == "product" and len(node.summed) == 1 else super()._value(n, axes)

    def _product(self, node: Node, axes: tuple[int, ...]) -> int:
        sides: dict[str, Access] = {}
        for a, m in zip(node.args, node.maps, strict=True):
            forms = [(NOTHING, {axes[k] if k < len(node.shape) else SUMMED: Dim.of(1)}) for k in m]
            access = self._place(a, forms, node.span)
            sides[access.kind] = access
        if len(sides) != 2:
            raise Unsupported("its channels meet")
        product = Product(sides["static"], sides["stream"], node.summed[0])
        self.builder.span = node.span
        return self.builder.leaf("dot", self.products.setdefault(product, len(self.products)), ())
