"""What goes from rank to rank, in the order of time: tensors as bytes, each with a tag that says what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from rnndsl.runtime.complex_parts import real_view
from rnndsl.runtime.ranks.line import FRAME, ROOM, Line, line_of


@dataclass(frozen=True)
class Wire:
    """The ranks of a line. is_turned: whether they are counted from the last one."""

    line: Line
    is_turned: bool

    @property
    def rank(self) -> int:
        return self._counted(self.line.rank)

    @property
    def size(self) -> int:
        return self.line.size

    def _counted(self, rank: int) -> int:
        """A rank of the group as one of the wire, and the other way around."""
        return self.size - 1 - rank if self.is_turned else rank

    @property
    def is_staged(self) -> bool:
        """Whether only what lies in the CPU's memory can be sent."""
        return dist.get_backend(self.line.group) in ("gloo", "mpi")

    def begun(self) -> int:
        """The number of a call that begins."""
        self.line.calls += 1
        return self.line.calls

    def gather(self, tag: Sequence[int], tensors: Sequence[Tensor], what: str) -> list[list[Tensor]]:
        """What each rank gives, which is of the same shapes and dtypes on all. what: for errors, what is under way."""
        mine = self._packed(tensors)
        found = [torch.empty_like(mine) for _ in range(self.size) if mine.numel() > ROOM]  # before ranks meet: from then on all must go on
        frames = self._met(tag, mine, what)
        if mine.numel() > ROOM:
            self.line.sent += mine.numel()
            with self.line.told(what):
                dist.all_gather(found, mine, group=self.line.group)
        else:
            found = [f[: mine.numel()] for f in frames]
        return [_unpacked(f, tensors) for f in (reversed(found) if self.is_turned else found)]

    def hand_on(self, tag: Sequence[int], given: Sequence[Tensor], wanted: Sequence[Tensor], step: int, what: str) -> list[Tensor]:
        """What the rank before gives to this one, of shapes and dtypes `wanted`, while `given` goes to the rank behind; step -1: the other way around. Every
        rank takes part, with nothing to give or to be given too."""
        mine, theirs = self._packed(given), torch.empty_like(self._packed(wanted))
        source, to = self.rank - step, self.rank + step
        frames = self._met(tag, mine, what, is_even=False)
        with self.line.told(what):
            works: list[Any] = []
            if mine.numel() > ROOM:
                self.line.sent += mine.numel()
                works.append(dist.isend(mine, self._known_as(to), group=self.line.group))
            if theirs.numel() > ROOM:
                works.append(dist.irecv(theirs, self._known_as(source), group=self.line.group))
            for work in works:
                work.wait()
        if 0 < theirs.numel() <= ROOM:
            theirs = frames[self._counted(source)][: theirs.numel()]
        return _unpacked(theirs, wanted)

    def summed(self, tag: Sequence[int], tensors: Sequence[Tensor], what: str) -> list[Tensor]:
        """The sums of tensors over the ranks, the same bits on each."""
        places = {d: [i for i, t in enumerate(tensors) if t.dtype == d] for d in dict.fromkeys(t.dtype for t in tensors)}
        flat = {d: torch.cat([real_view(tensors[i]).reshape(-1) for i in at]) for d, at in places.items()}
        sums = {d: f.cpu() if self.is_staged else f for d, f in flat.items()}
        size = sum(f.numel() * f.element_size() for f in sums.values())
        self.line.met(tag, size, _NOTHING, what)
        self.line.sent += size
        found: list[Tensor] = [_NOTHING] * len(tensors)
        for dtype, at in places.items():
            with self.line.told(what):
                dist.all_reduce(sums[dtype], group=self.line.group)
            total = sums[dtype].to(flat[dtype].device)
            total = torch.view_as_complex(total.reshape(-1, 2)) if dtype.is_complex else total
            for i, part in zip(at, total.split([tensors[i].numel() for i in at]), strict=True):
                found[i] = part.view(tensors[i].shape)
        return found

    def _met(self, tag: Sequence[int], mine: Tensor, what: str, is_even: bool = True) -> list[Tensor]:
        """The frames of all ranks, in the order of the group, with what fits into them. is_even: whether all give as much."""
        return self.line.met(tag, mine.numel() if is_even else 0, mine if mine.numel() <= ROOM else _NOTHING, what)

    def _known_as(self, rank: int) -> int:
        return dist.get_global_rank(self.line.group, self._counted(rank))

    def _packed(self, tensors: Sequence[Tensor]) -> Tensor:
        parts = [_bytes(t) for t in tensors if t.numel()]
        if not parts:
            return _NOTHING
        device = parts[0].device
        if self.is_staged:
            device = torch.device("cpu")
        elif device.type == "cpu" and torch.cuda.is_available():
            device = torch.device("cuda", torch.cuda.current_device())
        return torch.cat([p.to(device) for p in parts])


_NOTHING = torch.empty(0, dtype=torch.uint8)


def sent_for(size: int) -> int:
    """The bytes that a rank sends to exchange some."""
    return FRAME + (size if size > ROOM else 0)


def wire_of(shards: Any) -> Wire:
    """The wire of `Shards`."""
    return Wire(line_of(shards.group), shards.is_turned)


def _unpacked(packed: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = packed.split([t.numel() * t.element_size() for t in like])
    return [p.to(t.device).clone().view(t.dtype).view(t.shape) for p, t in zip(parts, like, strict=True)]


def _bytes(t: Tensor) -> Tensor:
    return t.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8)
