"""The sequences of a call of a stack or a block: whole ones, or the part that a rank has of them."""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from torch import Tensor

from rnndsl.nn import ragged
from rnndsl.nn.ragged import Whole
from rnndsl.runtime.sharded import shards_of


def sequences_of(module: Any, group: Any, lengths: Any, cu_seqlens: Any, x: Tensor, state: Any) -> Whole:
    """The sequences of a batch [B, T, ...], as `ragged.sequences` has them, or, over ranks, `nn.ranks.part_of`. group: what a call of a module was given.
    Raises what these do."""
    if isinstance(lengths, Whole):  # of the module around this one
        return lengths
    shards = shards_of(module, group)
    if shards is None:
        return ragged.sequences(lengths, cu_seqlens, x.shape[0], x.shape[1], x.device)
    found: Whole = import_module("rnndsl.nn.ranks").part_of(shards, x.shape[0], x.shape[1], lengths, cu_seqlens, state is not None, x.device)
    return found


def heard(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The `forward` of a module, of whose errors other ranks hear, if it goes over ranks."""

    @wraps(forward)
    def run(self: Any, *given: Any, group: Any = None, **named: Any) -> Any:
        shards = shards_of(self, group)
        if shards is None:
            return forward(self, *given, **named)
        with import_module("rnndsl.runtime.ranks.line").heard(shards.group):
            return forward(self, *given, group=group, **named)

    return run
