"""What a step that is made again need not check again: nothing that is asked of tensors depends on more than how they look."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

Look = tuple[Any, ...]


def looks(tensors: Sequence[Tensor]) -> list[Look]:
    """All of tensors but their entries and where these lie. Raises RuntimeError, AttributeError or TypeError for what is no dense tensor."""
    return [(type(t), t.shape, t.stride(), t.dtype, t.device, t.is_neg(), t.is_conj()) for t in tensors]


class Seen(NamedTuple):
    """The last step of a layer that can be made again. settings: what else decided how it was made; looks: of its inputs, of params and consts as they
    are stored, and of its state; again: what makes it, see `backend.Stepped`."""

    settings: Look
    looks: list[Look]
    again: Any
