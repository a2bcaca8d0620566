"""Rounds of Newton's method whose parts are kernels, in C++ or in Triton: what is the same of a chunk, forwards and backwards; see `newton.Rounds`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rnndsl.runtime.call import Call
from rnndsl.runtime.memory import rows
from rnndsl.runtime.torch.buffers import buffers_of
from rnndsl.runtime.torch.newton import gradient_units, groups_of


class KernelChunk:
    """Rounds of a chunk forwards; new values and D are those of every round. Who looks at states sets `slopes`."""

    is_guarded = True

    def __init__(self, rounds_of: Any, part: Call):
        self.rounds_of, self.part, self.kept = rounds_of, part, rounds_of.carries.kept
        self.made = buffers_of(part.first, part.steps)
        self.slopes: list[Tensor] = []
        self.rounds = 0

    def states(self, number: int) -> list[Tensor]:
        """Memory for states: a round reads one and writes the other. What is done stays where it is, since a chunk is only ever cut."""
        return self.made.take(("states", number % 2), [tuple(f.shape[1:]) for f in self.part.first[: self.kept]])

    def corrected(self, states: Sequence[Tensor], new: Sequence[Tensor], is_finite: bool) -> list[Tensor]:
        self.rounds += 1
        into = self.states(self.rounds)
        self.rounds_of.corrected(self.slopes, new, [rows(s, 2) for s in states], into, self.part.reset)
        return into

    def cut(self, part: Call) -> None:
        self.made.begin += self.part.steps - part.steps
        self.part = part


class KernelBack(ABC):
    """Rounds of a chunk backwards. Who makes one sets `slopes`."""

    slopes: list[Tensor]

    def __init__(self, rounds_of: Any, part: Call, old: Sequence[Tensor]):
        self.rounds_of, self.part, self.old = rounds_of, part, old
        self.made = buffers_of(part.first, part.steps)
        self.rounds = 0

    @abstractmethod
    def pulled(self, adjoint: Sequence[Tensor]) -> list[Tensor]:
        """Jᵀλ of each row."""

    def wanted(self, given: Sequence[Tensor], adjoint: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        adjoint = [rows(a, 2) for a in adjoint]
        pulled = self.pulled(adjoint)
        into = self.made.take("wanted", [tuple(a.shape[2:]) for a in adjoint])
        size, worst = self.rounds_of.handed_back([rows(g, 2) for g in given], pulled, adjoint, into, self.part.reset)
        return into, (worst / gradient_units(size)).amax(0)

    def corrected(self, adjoint: Sequence[Tensor], wanted: Sequence[Tensor]) -> list[Tensor]:
        self.rounds += 1
        into = self.made.take(("adjoint", self.rounds % 2), [tuple(a.shape[2:]) for a in adjoint])
        self.rounds_of.corrected(self.slopes, wanted, [rows(a, 2) for a in adjoint], into, self.part.reset, backwards=True)
        return into

    def gradients(self, adjoint: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Each row is a sequence of one step."""
        part, (batch, steps) = self.part, self.old[0].shape[:2]

        def alone(group: Sequence[Tensor], *lead: int) -> list[Tensor]:
            return [t.reshape(batch * steps, *lead, *t.shape[2:]) for t in group]

        call = Call(alone(part.streams, 1), part.statics, alone(self.old), part.initial, None, 1)
        kept = self.rounds_of.carries.kept
        found = self.rounds_of.swept().backward(call, alone(adjoint[:kept], 1), [None] * kept + alone(adjoint), [True] * sum(map(len, call[:4])))
        streams, statics, old, _ = groups_of(found, call)
        return [s.reshape(batch, steps, *s.shape[2:]) for s in streams], statics, [o.reshape(batch, steps, *o.shape[1:]) for o in old]
