"""What a backend is, and which there are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from rnndsl.runtime.call import Call

Tensors = Sequence[Tensor]
Results = tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]  # of a recurrence; see `Backend.run`


class Stepped(NamedTuple):
    """One step of a whole cell. again: the same for further inputs, values (params and consts) and states that look as these did (see
    `seen.looks`), of which nothing is checked again; None where something must be made of them first."""

    outputs: list[Tensor]
    state: list[Tensor]
    again: Callable[[Tensors, Tensors, Tensors], tuple[list[Tensor], list[Tensor]]] | None


@dataclass(frozen=True)
class Plan:
    """What runs one recurrence, and why. channels: of all rows together; forward, backward: how the kernels are cut, on the Triton backend; family,
    structure, slots (the real numbers of a channel): what the compiler found, as `rnndsl explain` says it; model: what a model that chose the
    tiles knows of the device, and from where; ranks: how states would cross the borders between ranks."""

    recurrence: str
    backend: str
    schedule: str  # sequential, newton, exact scan
    why: str
    channels: int | None = None
    forward: Any = None
    backward: Any = None
    family: str = ""
    structure: str = ""
    slots: int = 0
    model: str = ""
    ranks: str = ""

    def __str__(self) -> str:
        lines = [f"{self.recurrence}: {self.schedule} on {self.backend}; {self.why}"]
        if self.family:
            lines.append(f"  {self.family}, {self.structure}, {self.slots} slot{'s' * (self.slots != 1)}")
        if self.forward is not None:
            lines += [f"  {self.channels:,} channels in all", f"  forward   {self.forward}", f"  backward  {self.backward}"]
        if self.model:
            lines.append(f"  model     {self.model}")
        if self.ranks:
            lines.append(f"  ranks     {self.ranks}")
        return "\n".join(lines)


class Backend(ABC):
    """What runs the recurrences of a layer. `layer` and `cls` are a layer and a generated class, `name` is a recurrence of theirs.

    devices: the types of device on which `backend="auto"` takes it; schedules: those of `layer.schedule` that it has; has_step: whether it may
    run a step of a whole cell in one call; threaded_from: how many values of a call it shares among threads, None where it never does.
    """

    name: ClassVar[str]
    devices: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ("sequential",)
    has_step: bool = False
    threaded_from: int | None = None

    def taken(self, layer: Any, name: str, device: torch.device, shape: tuple[int, int]) -> bool:
        """Whether `backend="auto"` takes it for a recurrence of a layer. shape: sequences and steps of the call."""
        return device.type in self.devices and self.chosen(type(layer), name)

    @abstractmethod
    def run(self, layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Results:
        """Runs a recurrence. kind: the dtype that is computed in, and the device. Returns the sequences [B, T, ...] of its states, what it
        carries on, [B, ...], and what follows it entry by entry, [B, T, ...]; () for this, and the layer computes it."""

    @abstractmethod
    def plan_for(self, layer: Any, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        """What would run a recurrence. kind: as `run` has it, and in `products` the dtype of products of params and sequences."""

    def refusal(self, cls: type) -> str | None:
        """Why it cannot run the recurrences of a class on this machine, in words; None where it can."""
        return None

    def misplaced(self, device: torch.device) -> str | None:
        """Why it cannot run on a device, in words; None where it can."""
        return None

    def chosen(self, cls: type, name: str) -> bool:
        """Whether `backend="auto"` takes it for a recurrence on one of its devices; where not, it says so once."""
        return True

    def step(
        self, layer: Any, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
    ) -> Stepped | None:
        """Outputs and new state of one step of the whole cell, without gradients; None where it has no way to run it. inputs, values (params and
        consts) and state have been checked and are all of `dtype`."""
        return None

    def report(self, layer: Any) -> tuple[Any, ...]:
        """How it solved the recurrences of a layer's last call, as far as there is something to say."""
        return tuple(how() for by, how in layer._reports.values() if by == self.name)

    def solved(self, layer: Any, name: str, how: Callable[[], Any]) -> None:
        """Says of a recurrence of a layer's last call what gives the report of how it was solved, when somebody asks."""
        layer._reports[name] = (self.name, how)

    # What only backends with generated kernels have

    def carried(self, **said: Any) -> Any:
        """The kernels of a class, from what its module says of them; it has a `digest`, by which a program finds the class again."""
        raise NotImplementedError

    def made(self, key: Any) -> Any:
        """The kernels that a `key.Key` names, ready to be called: a `recurrence.Runnable`."""
        raise NotImplementedError

    # What tools ask

    def home(self) -> str:
        """The type of the device on which it is to be tried here."""
        return "cpu"

    def emulated(self, device: torch.device) -> str | None:
        """Why the time that it takes on a device says nothing; None where it does."""
        return None


BACKENDS: dict[str, Backend] = {}  # by name, in the order in which `auto` asks them


def register(backend: Backend) -> None:
    """Makes a backend known by its name."""
    BACKENDS[backend.name] = backend
