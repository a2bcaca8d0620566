"""What goes from rank to rank: tensors as bytes, each with a tag that says what it is."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_TURNED = 1 << 32  # calls of a wire against time are counted from here on
_TAG = 4  # whole numbers: the call, what is sent within it, perhaps which slice of it, and whether forwards or backwards


class RankError(RuntimeError):
    """Ranks that share a sequence do not fit one another, or one of them is gone."""


@dataclass
class Wire:
    """A process group. is_turned: whether its ranks are counted from the last one; calls: how many calls of layers it has carried; sent: the bytes that this rank
    has given to it."""

    group: Any
    is_turned: bool = False
    calls: int = 0
    sent: int = 0
    waiting: list[tuple[Any, Tensor]] = field(default_factory=list)  # what is still being sent

    @property
    def rank(self) -> int:
        return self._counted(dist.get_rank(self.group))

    @property
    def size(self) -> int:
        return dist.get_world_size(self.group)

    def _counted(self, rank: int) -> int:
        """A rank of the group as one of the wire, and the other way around."""
        return self.size - 1 - rank if self.is_turned else rank

    @property
    def is_staged(self) -> bool:
        """Whether only what lies in the CPU's memory can be sent."""
        return dist.get_backend(self.group) in ("gloo", "mpi")

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Says of an error of the process group what was under way."""
        try:
            yield
        except RankError:
            raise
        except RuntimeError as e:
            first = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
            raise RankError(f"rank {self.rank} of {self.size}, {what}: another rank is gone, hangs, or makes other calls ({first})") from e

    def gather(self, tag: Sequence[int], tensors: Sequence[Tensor], what: str) -> list[list[Tensor]]:
        """What each rank gives, which is of the same shapes and dtypes on all. what: for errors, what is under way."""
        mine = self._packed(tag, tensors)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        self.sent += mine.numel()
        with self.told(what):
            dist.all_gather(found, mine, group=self.group)
        return [self._unpacked(f, tag, tensors, what, r) for r, f in enumerate(reversed(found) if self.is_turned else found)]

    def send(self, tag: Sequence[int], tensors: Sequence[Tensor], to: int, what: str) -> None:
        """Sends to one rank, which receives the same; `flush` waits until all is sent."""
        mine = self._packed(tag, tensors)
        self.sent += mine.numel()
        with self.told(what):
            self.waiting.append((dist.isend(mine, dist.get_global_rank(self.group, self._counted(to)), group=self.group), mine))

    def receive(self, tag: Sequence[int], like: Sequence[Tensor], source: int, what: str) -> list[Tensor]:
        """What another rank sends, of these shapes and dtypes."""
        found = torch.empty_like(self._packed(tag, like))
        with self.told(what):
            dist.recv(found, dist.get_global_rank(self.group, self._counted(source)), group=self.group)
        return self._unpacked(found, tag, like, what, source)

    def flush(self, what: str) -> None:
        """Waits until all that was sent has gone."""
        waiting, self.waiting = self.waiting, []
        with self.told(what):
            for work, _ in waiting:
                work.wait()

    def summed(self, tensors: Sequence[Tensor], what: str) -> list[Tensor]:
        """The sums of tensors over the ranks, the same bits on each."""
        found: list[Tensor] = [torch.empty(0)] * len(tensors)
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
            flat = torch.cat([(torch.view_as_real(t) if t.is_complex() else t).reshape(-1) for t in (tensors[i] for i in places)])
            on = flat.device
            flat = flat.cpu() if self.is_staged else flat
            self.sent += flat.numel() * flat.element_size()
            with self.told(what):
                dist.all_reduce(flat, group=self.group)
            flat = torch.view_as_complex(flat.reshape(-1, 2)) if dtype.is_complex else flat
            for i, part in zip(places, flat.to(on).split([tensors[i].numel() for i in places]), strict=True):
                found[i] = part.view(tensors[i].shape)
        return found

    def _packed(self, tag: Sequence[int], tensors: Sequence[Tensor]) -> Tensor:
        device = next((t.device for t in tensors if t.numel()), torch.device("cpu"))
        if not self.is_staged and device.type == "cpu" and torch.cuda.is_available():
            device = torch.device("cuda", torch.cuda.current_device())
        head = torch.tensor([*tag, *[0] * (_TAG - len(tag))], dtype=torch.int64)
        parts = [_bytes(head), *(_bytes(t) for t in tensors)]
        return torch.cat([p.to("cpu" if self.is_staged else device) for p in parts])

    def _unpacked(self, packed: Tensor, tag: Sequence[int], like: Sequence[Tensor], what: str, source: int) -> list[Tensor]:
        sizes = [8 * _TAG, *(t.numel() * t.element_size() for t in like)]
        head, *parts = packed.split(sizes)
        theirs = head.cpu().clone().view(torch.int64).tolist()
        if theirs[: len(tag)] != list(tag):
            raise RankError(f"rank {self.rank} of {self.size}, {what}: rank {source} is elsewhere; ranks must call layers, and their backward passes, in the same order")
        return [p.to(t.device).clone().view(t.dtype).view(t.shape) for p, t in zip(parts, like, strict=True)]


def _bytes(t: Tensor) -> Tensor:
    return t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


_wires: dict[tuple[str, bool], Wire] = {}


def wire_of(shards: Any) -> Wire:
    """The wire of `Shards`."""
    group, is_turned = shards.group, shards.is_turned
    found = _wires.get((group.group_name, is_turned))
    if found is None or found.group is not group:
        found = _wires[group.group_name, is_turned] = Wire(group, is_turned, _TURNED if is_turned else 0)
    return found
