"""Complex values as pairs of real ones: kernels know no others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnndsl.runtime.ops import imag


def real_view(value: Tensor) -> Tensor:
    """A real value as it is; of a complex one real and imaginary parts along one more axis, without a copy but of a lazy conjugate."""
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value


def parts(values: Sequence[Tensor], forms: Sequence[int]) -> tuple[Tensor, ...]:
    """Real tensors, two for a complex one."""
    found: list[Tensor] = []
    for v, n in zip(values, forms, strict=True):
        if n == 1:
            found.append(v)
        else:
            found.extend((v.real, imag(v)))
    return tuple(found)


def joined(values: Sequence[Tensor], forms: Sequence[int]) -> tuple[Tensor, ...]:
    """The values that `parts` took apart."""
    left = iter(values)
    return tuple(torch.complex(next(left), next(left)) if n == 2 else next(left) for n in forms)
