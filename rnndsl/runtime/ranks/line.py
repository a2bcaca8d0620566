"""How ranks keep in step, and how the others hear of an error of one of them.

Every exchange begins with a frame of each rank, of one size wherever it is, so that ranks which are at different places see that they are, instead of taking
one thing for another. A rank that fails takes part in no frame: it says so in the store that ranks meet at, where those who wait for it look, and hands in
its frame when it comes back, if it does. So after an error, which every rank has raised then, all are in step again.
"""

import datetime
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from rnndsl.runtime.sharded import as_it_is

FRAME = 1024  # bytes
_TAG = 4  # whole numbers: the call, what is exchanged within it, perhaps which slice or round of it, and whether forwards or backwards
_HEAD = 8 * (2 + _TAG)  # bytes of a frame: whether it comes late, from a rank that has failed; how many bytes are exchanged; the tag
ROOM = FRAME - _HEAD  # for what is exchanged, if it is no more
_LOOK = datetime.timedelta(seconds=0.25)  # after which one who waits looks whether another has failed
_ERROR = 1 << 32  # calls are counted from here on after an error, from twice that after two


class RankError(RuntimeError):
    """Ranks that share a sequence do not fit one another, or one of them is gone."""


class Line:
    """The ranks of a process group. number: of lines that had a group of this name; calls: how many calls of layers and stacks there were; sent: bytes that
    this rank has given to others."""

    def __init__(self, group: Any, number: int):
        self.group, self.number = group, number
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self.calls = self.sent = 0
        self._frames = self._errors = 0
        self._is_owing = False  # the frame in which this rank failed
        self._late: Any = None  # a frame that is being handed in late
        self._broken = ""  # why nothing can be exchanged any more
        self._name = f"rnndsl/{group.group_name}/{dist.get_process_group_ranks(group)}/{number}"
        self._frames_of: Any = None  # sockets of our own: what a caller exchanges in the group does not meet frames that wait

    def meet(self) -> "Line":
        """Waits for the other ranks, for the group's timeout at most, which gloo alone would outwait."""
        with self.told("meeting the other ranks"):
            if self._frames_of is None:
                store, timeout = dist.PrefixStore(self._name, dist.distributed_c10d._get_default_store()), _timeout_of(self.group)
                store.set(f"{self.rank} is here", "")
                store.wait([f"{r} is here" for r in range(self.size)], timeout)
                self._frames_of = dist.ProcessGroupGloo(store, self.rank, self.size, timeout)
        return self

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """Says of an error of a process group what was under way; nothing goes over it from then on."""
        if self._broken:
            raise known(RankError(f"{self._broken}; nothing more goes over this process group"))
        try:
            yield
        except RankError:
            raise
        except RuntimeError as e:
            first = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
            self._broken = f"rank {self.rank} of {self.size}, {what}: another rank is gone, hangs, or makes other calls ({first})"
            raise known(RankError(self._broken)) from e

    def met(self, tag: Sequence[int], size: int, inside: Tensor, what: str) -> list[Tensor]:
        """What each rank has in its frame, once all are there. tag, size: of what is exchanged, the same on all; inside: what of it goes in the frame, uint8.
        Raises RankError, on every rank, where one has failed, or is elsewhere."""
        if self._is_owing:
            late = _frame([1], inside[:0])
            self._late = (*self._handed_in(late, what), late)
            self._is_owing = False
        work, found = self._handed_in(_frame([0, size, *tag], inside), what)
        self.sent += FRAME
        while True:
            try:
                work.wait(_LOOK)
                break
            except RuntimeError as e:
                if work.is_completed():
                    with self.told(what):
                        raise
                self._look(what, e)
        heads = [f[:_HEAD].view(torch.int64).tolist() for f in found]
        other = next((r for r, head in enumerate(heads) if head != heads[self.rank]), None)
        if other is not None:
            if any(head[0] for head in heads):
                self._look(what, None)
            self._next()
            raise known(RankError(f"rank {self.rank} of {self.size}, {what}: rank {other} is elsewhere; ranks must call layers, and their backward passes, in the same order"))
        return [f[_HEAD:] for f in found]

    def _handed_in(self, frame: Tensor, what: str) -> tuple[Any, list[Tensor]]:
        found = [torch.empty_like(frame) for _ in range(self.size)]
        self._frames += 1
        with self.told(what):
            return self._frames_of.allgather([found], [frame]), found

    def _look(self, what: str, cause: Exception | None) -> None:
        """Raises RankError where the store says that a rank has failed before the frame that this one has handed in last."""
        try:
            store = dist.distributed_c10d._get_default_store()
            if not store.check([self._key]):
                return
            rank, frames, error = json.loads(store.get(self._key))
        except RuntimeError:  # the store is gone, and with it a rank: the process group notices
            return
        if frames == self._frames - 1:
            self._next()
            raise known(RankError(f"rank {self.rank} of {self.size}, {what}: rank {rank} has failed: {error}")) from cause

    @as_it_is
    def failed(self, error: BaseException | str) -> None:
        """Tells the others that this rank has failed, unless they know; then they fail too."""
        if self._broken or getattr(error, "_rnndsl_is_known", False) or not dist.is_initialized() or sys.is_finalizing():
            return
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        try:
            self.meet()
            dist.distributed_c10d._get_default_store().set(self._key, json.dumps([self.rank, self._frames, text[:800]]))
        except RuntimeError:
            return
        if isinstance(error, BaseException):
            known(error)
        self._next()
        self._is_owing = True

    @property
    def _key(self) -> str:
        """Of an error, in the store."""
        return f"{self._name}/error {self._errors}"

    @property
    def errors(self) -> int:
        """How often ranks have failed."""
        return self._errors

    def _next(self) -> None:
        self._errors += 1
        self.calls = self._errors * _ERROR


@contextmanager
def heard(group: Any) -> Iterator[None]:
    """Of an error within it the other ranks of a process group hear, unless they know of it."""
    try:
        yield
    except Exception as e:
        _known_line(group).failed(e)
        raise


def known(error: BaseException) -> BaseException:
    """An error that all ranks know of, or hear of without being told."""
    error._rnndsl_is_known = True  # type: ignore[attr-defined]
    return error


def _frame(head: Sequence[int], inside: Tensor) -> Tensor:
    numbers = torch.tensor([*head, *[0] * (_HEAD // 8 - len(head))]).view(torch.uint8)
    return torch.cat([numbers, inside.cpu(), torch.zeros(ROOM - inside.numel(), dtype=torch.uint8)])


def _timeout_of(group: Any) -> datetime.timedelta:
    """Of a process group; PyTorch's own, where it does not say."""
    device = torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
    return getattr(getattr(group._get_backend(device), "options", None), "_timeout", dist.default_pg_timeout)


def check_modes() -> None:
    """Raises TypeError where tensors hold no numbers that could be sent: within transforms of torch.func, and in a trace of a program."""
    if torch._C._are_functorch_transforms_active():
        raise TypeError("group: transforms of torch.func (grad, vmap, jvp) do not go over ranks; backward() and torch.autograd.grad do")
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
        raise TypeError("group: a call over ranks cannot be traced or exported; torch.compile runs it between its graphs")


_lines: dict[str, Line] = {}


def line_of(group: Any) -> Line:
    """The line of a process group, whose ranks have met. Raises RankError where they cannot."""
    return _known_line(group).meet()


def _known_line(group: Any) -> Line:
    found = _lines.get(group.group_name)
    if found is None or found.group is not group:
        found = _lines[group.group_name] = Line(group, 0 if found is None else found.number + 1)
    return found
