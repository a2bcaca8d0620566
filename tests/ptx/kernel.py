"""A kernel that can be called: PTX, arguments, a report."""

import ctypes
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tests.ptx.native import SOURCES, native
from tests.ptx.program import Program

COUNTS = tuple(re.findall(r"^  uint64_t (\w+);", (SOURCES / "report.h").read_text(), re.M))
WRONG = COUNTS[: COUNTS.index("barriers")]  # each of them a fault of the kernel


class _Report(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_uint64) for name in COUNTS), ("first", ctypes.c_char * 512)]


class _Row(ctypes.Structure):
    _fields_ = [("function", ctypes.c_void_p), ("operands", ctypes.c_void_p), ("kind", ctypes.c_int), ("line", ctypes.c_int)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("rows", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("file_size", "max_steps", "seed")),
        ("params", ctypes.c_void_p),
        ("grid", ctypes.c_int * 3),
        *((name, ctypes.c_int) for name in ("warps", "shared_size", "resident")),
    ]


@dataclass(frozen=True)
class Report:
    """What one launch did. `counts` has everything by name (machine/report.h says what is what); `first` tells of the first fault."""

    counts: dict[str, int]
    first: str

    @property
    def wrong(self) -> dict[str, int]:
        """The faults, where there are any."""
        return {name: self.counts[name] for name in WRONG if self.counts[name]}

    def __getattr__(self, name: str) -> int:
        if name in COUNTS:
            return self.counts[name]
        raise AttributeError(name)


class PtxKernel:
    """The kernel of a PTX text. Raises Unknown, which names the instruction, for what the emulator does not know."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.program = Program(text)
        machine, rows = native(), self.program.rows
        functions = iter(machine.functions([row.body for row in rows if row.body is not None]))
        flat = [value for row in rows for value in row.operands]
        self._operands = (ctypes.c_uint64 * max(1, len(flat)))(*flat)
        at = ctypes.addressof(self._operands)
        self._rows = (_Row * len(rows))()
        for i, row in enumerate(rows):
            self._rows[i] = _Row(None if row.body is None else next(functions), at, row.kind, row.line)
            at += 8 * len(row.operands)
        self._labels = (ctypes.c_ubyte * len(self.program.is_label)).from_buffer(self.program.is_label)

    def __call__(
        self,
        grid: Sequence[int],
        arguments: Sequence[Tensor | int | float],
        shared: int = 0,
        seed: int = 0,
        noise: int = 0,
        watch: bool = True,
        max_steps: int = 200_000_000,
        resident: int | None = None,
    ) -> Report:
        """Runs a grid. `arguments` stand in the order of the kernel's parameters, tensors on the CPU; parameters after them (Triton's
        scratch memory) are null. `noise` moves approximate instructions by up to so many units in the last place. `resident` programs
        run at once: all where there are atomics, else one. Raises TypeError for too many arguments."""
        types = [kind for kind, _ in self.program.source.parameters]
        if len(arguments) > len(types):
            raise TypeError(f"{len(arguments)} arguments for {len(types)} parameters")
        params = bytearray(8 * max(1, len(types)))
        ranges: list[tuple[int, int]] = []
        for i, (value, kind) in enumerate(zip(arguments, types, strict=False)):
            if isinstance(value, Tensor):
                ranges.append((value.data_ptr(), _span(value)))
                struct.pack_into("<Q", params, 8 * i, value.data_ptr())
            elif kind in ("f32", "f64"):
                struct.pack_into("<f" if kind == "f32" else "<d", params, 8 * i, value)
            else:
                n = 8 if kind.endswith("64") else 4
                params[8 * i : 8 * i + n] = (int(value) & (256**n - 1)).to_bytes(n, "little")
        constants = [(ctypes.addressof(c), len(c), 1) for c in self.program.constants.values()]
        flat = [value for piece in [*((*piece, 0) for piece in _merged(ranges)), *constants] for value in piece]
        count = grid[0] * grid[1] * grid[2]
        held = (ctypes.c_ubyte * len(params)).from_buffer(params)
        launch = _Launch(
            ctypes.addressof(self._rows),
            ctypes.addressof(self._labels),
            self.program.source.room.size,
            max_steps,
            seed,
            ctypes.addressof(held),
            (ctypes.c_int * 3)(*grid),
            self.program.source.threads // 32,
            shared,
            min(count, resident or (count if self.program.has_atomics else 1)),
        )
        report = _Report()
        pieces = (ctypes.c_uint64 * max(1, len(flat)))(*flat)
        native().library.emulate(ctypes.byref(launch), pieces, len(flat) // 3, noise, int(watch), ctypes.byref(report))
        return Report({name: getattr(report, name) for name in COUNTS}, report.first.decode())


def _span(t: Tensor) -> int:
    """The bytes from a tensor's first value to its last."""
    if t.device.type != "cpu":
        raise TypeError(f"the emulator reads tensors on the CPU, not on {t.device}")
    if t.numel() == 0:
        return 0
    return (sum((n - 1) * stride for n, stride in zip(t.shape, t.stride(), strict=True)) + 1) * t.element_size()


def _merged(pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces of memory that overlap as one, so that every byte is watched in one place; neighbours stay apart."""
    found: list[tuple[int, int]] = []
    for at, size in sorted(piece for piece in pieces if piece[1]):
        if found and at < found[-1][0] + found[-1][1]:
            first, length = found[-1]
            found[-1] = (first, max(length, at + size - first))
        else:
            found.append((at, size))
    return found
