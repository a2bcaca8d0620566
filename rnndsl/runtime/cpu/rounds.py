"""Rounds of Newton's method in C++: all rows at once, each a step of a sequence; see `torch/newton.py`, and `kernel/row_steps.py` for the functions.

What is the same for every cell, residuals and the scan, is one library, of `rounds.h`.
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from rnndsl.runtime import build
from rnndsl.runtime.call import Call
from rnndsl.runtime.cpu.invoke import invoke, strided
from rnndsl.runtime.cpu.kernels import Kernels
from rnndsl.runtime.cpu.loaded import TYPES, doubles, function_of, table
from rnndsl.runtime.key import Key
from rnndsl.runtime.memory import rows
from rnndsl.runtime.torch.buffers import Buffers, Shape
from rnndsl.runtime.torch.by_kernels import KernelBack, KernelChunk
from rnndsl.runtime.torch.newton import Carries

_LIBRARY = """using T = {real};
#include "rounds.h"

EXPORT void residuals(const rnndsl::Call& call, long slots, const int64_t* sizes) {{ rnndsl::residuals<T>(call, slots, sizes); }}
EXPORT void handed_back(const rnndsl::Call& call, long slots, const int64_t* sizes) {{ rnndsl::handed_back<T>(call, slots, sizes); }}
EXPORT void corrected(const rnndsl::Call& call, long slots, long size, bool backwards) {{ rnndsl::corrected<T>(call, slots, size, backwards); }}
"""


@cache
def _library(dtype: torch.dtype) -> dict[str, Any]:
    """Its functions by their names. Raises what `build.load` does."""
    library = build.load(_LIBRARY.format(real=TYPES[dtype]), "rounds")
    of_sizes, of_size = (ctypes.c_long, ctypes.c_void_p), (ctypes.c_long, ctypes.c_long, ctypes.c_bool)
    further = {"residuals": of_sizes, "handed_back": of_sizes, "corrected": of_size}
    return {name: function_of(library, name, types) for name, types in further.items()}


@dataclass(frozen=True)
class RowFunction:
    """One function over rows, and the shapes of what it makes."""

    function: Any
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class CppRounds:
    """The functions of a recurrence, `once`, `look`, `linear` and `pull`; see `newton.Rounds`. block: of each entry of D the number of its output, -1 where
    it is zero; swept: what gives gradients of a step, a `recurrence.Runnable`."""

    halves: ClassVar[tuple[torch.dtype, ...]] = ()
    functions: dict[str, RowFunction]
    block: tuple[tuple[int, ...], ...]
    hypers: Any  # double*
    dtype: torch.dtype
    carries: Carries
    swept: Callable[[], Any]

    def given(self, call: Call) -> Call:
        """With what no row changes behind the statics."""
        call = call._replace(streams=[rows(s, 2) for s in call.streams], statics=[rows(s, 0) for s in call.statics], initial=[rows(i, 0) for i in call.initial])
        made = Buffers(call.first[0], 1, 1)
        fixed = self.run("once", Call([], call.statics, [], [], None, 1), 1, [], made)
        return call._replace(statics=[*call.statics, *(f[0, 0] for f in fixed)])

    def chunk(self, part: Call) -> "_Chunk":
        return _Chunk(self, part)

    def back(self, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]) -> "_Back":
        return _Back(self, part, old, sequences)

    def run(self, name: str, part: Call, batch: int, sequences: Sequence[Tensor], made: Buffers) -> list[Tensor]:
        """What a function makes of all rows of a part, [B, C, ...] each."""
        row = self.functions[name]
        found = made.take(name, row.shapes)
        groups = ((part.streams, 2), (part.statics, 0), ([rows(f, 1) for f in part.first], 1), (part.initial, 0), (sequences, 2), (found, 2))
        arrays = [v for tensors, lead in groups for v in strided(tensors, lead, self.dtype)]
        invoke(row.function, self.hypers, batch, part.steps, batch * part.steps * made.work, arrays, part.reset)
        return found

    def residuals(self, new: Sequence[Tensor], states: Sequence[Tensor]) -> Tensor:
        """The largest of each row, [B, C]."""
        found = new[0].new_empty(new[0].shape[:2])
        self._of_rows("residuals", [t for pair in zip(new, states, strict=True) for t in pair], [found], new, None)
        return found

    def handed_back(
        self, given: Sequence[Tensor], pulled: Sequence[Tensor], adjoint: Sequence[Tensor], into: Sequence[Tensor], reset: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What λ should be, into `into`; the largest |λ| of each row, and how far off the worst is, [B, C] each."""
        size, worst = (into[0].new_empty(into[0].shape[:2]) for _ in range(2))
        arrays = [t for group in zip(given, pulled, adjoint, into, strict=True) for t in group]
        self._of_rows("handed_back", arrays, [size, worst], into, reset)
        return size, worst

    def _of_rows(self, name: str, arrays: list[Tensor], found: list[Tensor], of: Sequence[Tensor], reset: Tensor | None) -> None:
        function, sizes = _library(self.dtype)[name], (ctypes.c_int64 * len(of))(*(t[0, 0].numel() for t in of))
        (batch, steps), work = of[0].shape[:2], sum(t.numel() for t in of)
        given = strided([*arrays, *found], 2, self.dtype)
        invoke(lambda call: function(call, len(of), sizes), self.hypers, batch, steps, work, given, reset)

    def corrected(
        self, slopes: Sequence[Tensor], new: Sequence[Tensor], values: Sequence[Tensor], into: Sequence[Tensor], reset: Tensor | None, backwards: bool = False
    ) -> None:
        """values + δ into `into`: of the carried values of one shape at a time, between which D is. Those without new values are of a step ago."""
        function = _library(self.dtype)["corrected"]
        batch, steps = new[0].shape[:2]
        shapes = [t.shape[2:] for t in new]
        shapes += [shapes[self.carries.origin(i)] for i in range(len(new), len(self.block))]
        for shape in dict.fromkeys(shapes):
            members = [i for i, s in enumerate(shapes) if s == shape]
            entries = [slopes[self.block[i][j]] if self.block[i][j] >= 0 else None for i in members for j in members]
            entries += [t[i] if i < len(new) else None for i in members for t in (new, values, into)]
            arrays = [v for t in entries for v in (strided([t], 2, self.dtype) if t is not None else (0, 0, 0))]
            run = partial(_with, function, len(members), shape.numel(), backwards)
            invoke(run, self.hypers, batch, steps, batch * steps * shape.numel() * len(members), arrays, reset)


def _with(function: Any, slots: int, size: int, backwards: bool, call: bytes) -> None:
    function(call, slots, size, backwards)


class _Chunk(KernelChunk):
    def start(self) -> list[Tensor]:
        """As if the states of all steps were those before the first."""
        new = self._look([f.unsqueeze(1).expand(f.shape[0], self.part.steps, *f.shape[1:]) for f in self.part.first[: self.kept]])
        return [n.copy_(v) for n, v in zip(self.states(0), new, strict=True)]

    def _look(self, states: Sequence[Tensor]) -> list[Tensor]:
        found = self.rounds_of.run("look", self.part, self.part.first[0].shape[0], [rows(s, 2) for s in states], self.made)
        new, self.slopes = found[: len(states)], found[len(states) :]
        return new

    def look(self, states: Sequence[Tensor], rounds: int) -> tuple[Sequence[Tensor], Tensor]:
        new = self._look(states)
        return new, self.rounds_of.residuals(new, [rows(s, 2) for s in states]).amax(0)


class _Back(KernelBack):
    """What rounds read of the values of a chunk's rows is made once."""

    def __init__(self, rounds_of: CppRounds, part: Call, old: Sequence[Tensor], sequences: Sequence[Tensor]):
        super().__init__(rounds_of, part, old)
        self.batch = old[0].shape[0]
        self.given = rounds_of.given(part)._replace(first=[o[:, 0] for o in old])
        states = [rows(s, 2) for s in sequences]
        self.slopes = rounds_of.run("look", self.given, self.batch, states, self.made)[len(states) :]
        saved = rounds_of.run("linear", self.given, self.batch, states, self.made)
        self.streams = [*self.given.streams, *saved]

    def pulled(self, adjoint: Sequence[Tensor]) -> list[Tensor]:
        part = Call([*self.streams, *adjoint], self.given.statics, [], [], None, self.part.steps)
        return self.rounds_of.run("pull", part, self.batch, [], self.made)


def rounds_in_cpp(key: Key, carries: Carries, swept: Callable[[], Any]) -> CppRounds:
    """The rounds of a recurrence, built where they are not built yet. Raises what `build.load` does."""
    kernels: Kernels = key.kernels
    known = kernels.rounds[key.name]
    constants = [f"constexpr long {kernels.sizes[n]} = {v};" for n, v in key.sizes.items()]
    library = build.load("\n".join([f"using T = {TYPES[key.dtype]};", *constants, kernels.rows]), f"{key.cls.__name__}_rounds")

    def function(part: str) -> RowFunction:
        read = table(library, f"{known.name}_{part}_shapes")
        shapes = tuple(tuple(next(read) for _ in range(next(read))) for _ in range(next(read)))
        return RowFunction(function_of(library, f"{known.name}_{part}"), shapes)

    _library(key.dtype)
    functions = {part: function(part) for part in ("once", "look", "linear", "pull")}
    return CppRounds(functions, known.block, doubles(key.hypers), key.dtype, carries, swept)
