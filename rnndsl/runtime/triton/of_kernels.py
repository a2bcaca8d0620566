"""What recurrences in Triton have in common."""

from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.dtypes import HALF


class OfKernels:
    """The part of a `recurrence.Runnable` that its kernels say: they load half streams as they are."""

    kernels: Any
    dtype: torch.dtype

    @property
    def forms(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        forms: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = self.kernels.forms
        return forms

    @property
    def lags(self) -> tuple[int, ...]:
        lags: tuple[int, ...] = self.kernels.lags
        return lags

    def cast(self, t: Tensor, is_stream: bool) -> Tensor:
        return t if t.dtype == self.dtype or (is_stream and t.dtype in HALF) else t.to(self.dtype)
