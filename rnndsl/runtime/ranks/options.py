"""What a caller says of the ranks that share a sequence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rnndsl.runtime.ranks.line import heard
from rnndsl.runtime.sharded import use

FINAL = ("last", "all")
WAYS = ("auto", "pipeline", "rounds", "repeats")


@dataclass(frozen=True)
class Shards:
    """A process group over which time is divided: rank r holds the steps behind those of rank r - 1, any number of them.

    group: a `torch.distributed` process group, or a DeviceMesh of one axis. final_state: on which ranks a call returns the state that the whole sequence
    leaves, `last` (None on the others) or `all`. reduce: whether the gradients of a layer's params are summed over the group in the backward pass; else each
    rank has the part of its own steps. positions: the numbers of a rank's steps in the whole sequence, whole numbers [T], by which a wrong order of shards is
    noticed. way: how states cross borders, `pipeline` (a rank after the other, over slices of the batch), `rounds` (all at once, and corrected by the maps of
    shards, where a cell's channels do not meet), `repeats` (all at once, and again as far as that matters), or `auto`, what is predicted to be quickest.
    is_turned: whether time runs against the order of ranks, as it does for the backward direction of a stack: rank r holds the steps behind those of rank r +
    1. Raises TypeError or ValueError for what cannot be.
    """

    group: Any
    final_state: str = "last"
    reduce: bool = True
    positions: Tensor | None = None
    way: str = "auto"
    is_turned: bool = False

    def __post_init__(self) -> None:
        use()
        if self.final_state not in FINAL:
            raise ValueError(f"final_state: expected one of {', '.join(FINAL)}, got {self.final_state!r}")
        if self.way not in WAYS:
            raise ValueError(f"way: expected one of {', '.join(WAYS)}, got {self.way!r}")
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            raise ValueError("group: torch.distributed is not initialised; torchrun starts ranks, and init_process_group joins them")
        if isinstance(self.group, torch.distributed.DeviceMesh):
            if self.group.ndim != 1:
                raise ValueError(f"group: expected one axis of a mesh, mesh[\"cp\"], got a mesh of {self.group.ndim}")
            if self.positions is None:
                check_mesh(self.group, 0)
            object.__setattr__(self, "group", self.group.get_group())
        if not isinstance(self.group, torch.distributed.ProcessGroup):
            raise TypeError(f"group: expected a process group that this process is in, got {type(self.group).__name__}")
        p = self.positions
        if p is not None and (not isinstance(p, Tensor) or p.dim() != 1 or p.is_floating_point() or p.is_complex() or p.dtype == torch.bool):
            raise TypeError("positions: expected a tensor of whole numbers [T]")


def check_mesh(mesh: torch.distributed.DeviceMesh, axis: int) -> None:
    """Raises ValueError where ranks stand in another order along an axis of a mesh than in its process group, which PyTorch sorts: who shares by places in
    the mesh would have shards in a wrong order."""
    place = mesh.get_coordinate()
    if place is None:
        return
    there, ranks = mesh.mesh[tuple(slice(None) if i == axis else c for i, c in enumerate(place))].tolist(), torch.distributed.get_process_group_ranks(mesh.get_group(axis))
    if there != ranks:
        raise ValueError(f"group: along the mesh ranks are {there}, and {ranks} in its process group, in whose order shards must be; make the mesh of ranks that rise along this axis")


_contexts: list[Shards] = []  # of this process, not of a thread: backward passes that compute a block again do so in threads of their own
_last: WeakKeyDictionary[Any, Shards] = WeakKeyDictionary()  # of each layer, what its last call ran over


@contextmanager
def context_parallel(group: Any, **options: Any) -> Iterator[Shards]:
    """Within it, every generated layer runs its sequences over the ranks of a group; the options are those of `Shards`. A block that activation
    checkpointing computes again in a backward pass behind it runs over them too. Of an error within it all ranks hear."""
    _contexts.append(shards := Shards(group, **options))
    try:
        with heard(shards.group):
            yield shards
    finally:
        _contexts.pop()


def is_computed_again() -> bool:
    """Whether a backward pass is running, and what is called is a call that it makes anew."""
    return torch._C._current_graph_task_id() != -1


def shards_of(layer: Any, group: Any) -> Shards | None:
    """What a call of a layer runs over; None for a whole sequence. group: what the call was given."""
    if group is not None:
        found: Shards | None = group if isinstance(group, Shards) else Shards(group)
    elif _contexts:
        found = _contexts[-1]
    else:
        found = _last.get(layer) if is_computed_again() else None
    if found is None:
        _last.pop(layer, None)
    else:
        _last[layer] = found
    return found
