"""What kernels give of the gradients of matrices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnndsl.runtime.pages import new_empty


@dataclass(frozen=True)
class Outer:
    """Σ over all steps of left ⊗ right is the gradient of static array `index`, of `rounds` slices from number `first` on, or, where
    that is 0, of all of it, in every round."""

    index: int
    first: int
    rounds: int
    further: int
    common: int
    left: int
    right: int
    sizes: tuple[int, ...]
    order: tuple[int, ...]
    stream: int = -1  # whose gradient is the left factor, if any

    def add(self, gradient: Tensor, left: Tensor, right: Tensor, multiply: Callable[[Tensor, Tensor], Tensor] = torch.mm) -> None:
        """Adds to the gradient, from the factors of all steps [batch, steps, rounds, entries]; multiply: gives a product of two matrices."""
        if self.first == 0:
            gradient += self._product(left, right, multiply)
            return
        for k in range(self.rounds):
            slice_ = self.first - 1 + (k if self.rounds > 1 else 0)
            gradient[slice_] += self._product(left[:, :, k].contiguous(), right[:, :, k].contiguous(), multiply)

    def _product(self, left: Tensor, right: Tensor, multiply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        rows = left.numel() // max(1, self.common * self.left)
        a = left.view(rows, self.common, self.left).permute(1, 2, 0)
        b = right.view(rows, self.common, self.right).permute(1, 0, 2)
        product = multiply(a[0], b[0]) if self.common == 1 else torch.bmm(a, b)
        return product.reshape(self.sizes).permute(self.order)

    def factors(self, like: Tensor, batch: int, steps: int, streams: Sequence[Tensor] = ()) -> list[Tensor]:
        """Memory for the factors of all steps; streams: that of the gradients of streams, of which a factor may be one."""
        shapes = [(batch, steps, self.rounds, self.further * self.common * size) for size in (self.left, self.right)]
        left = new_empty(like, shapes[0]) if self.stream < 0 else streams[self.stream].view(shapes[0])
        return [left, new_empty(like, shapes[1])]
