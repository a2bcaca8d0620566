"""The cells, as layers on the device."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from on_gpu.scale import Scale
from rnndsl import api, compiler
from rnndsl.checks.cell import Cell
from rnndsl.tools.bench.candidates import Backend
from rnndsl.tools.bench.subject import Subject, make_layer

BENCHMARKS = Path(__file__).resolve().parent.parent
EXAMPLES = BENCHMARKS.parent / "examples"


@dataclass(frozen=True)
class Case:
    """A cell, and the name of its parallel schedule: None for a dense cell, which has none; "parallel" where nobody has looked."""

    name: str
    program: Path
    parallel: str | None

    @property
    def where(self) -> str:
        """What tells it from another of the same name."""
        return f"{self.name} ({self.program.parent.name}/{self.program.stem})"

    @property
    def cell(self) -> Cell:
        return _loaded(self.program)[0]

    @property
    def has_step(self) -> bool:
        """Whether a kernel runs single steps."""
        return _loaded(self.program)[1]._kernels["triton"].step is not None

    def layer(self, sizes: dict[str, int], device: torch.device, dtype: str = "float32") -> Any:
        """In evaluation mode, on Triton kernels; a dense cell, which has none, in plain PyTorch."""
        cell, layer_class = _loaded(self.program)
        with device:
            layer = make_layer(cell, layer_class, sizes, dtype)
        layer.backend = "triton" if self.parallel else "reference"
        return layer

    def subject(self, batch: int, steps: int, sizes: dict[str, int], device: torch.device) -> Subject:
        """A layer whose kernels run step by step, and what it is called with."""
        layer = self.layer(sizes, device)
        layer.schedule = "sequential"
        return Subject(self.cell, layer, batch, steps)


@cache
def _loaded(program: Path) -> tuple[Cell, Any]:
    source = api.read_source(program)
    (cell,) = compiler.compiled(source).program.cells
    return cell, getattr(api.load(source.text, source.name), cell.name)


DIAGONAL = (
    Case("ParaGRU", EXAMPLES / "para_gru.rnn", "newton"),
    Case("ParaLSTM", EXAMPLES / "para_lstm.rnn", "newton"),
    Case("DiagonalSLSTM", BENCHMARKS / "slstm_diagonal.rnn", "newton"),
    Case("MinGRU", EXAMPLES / "min_gru.rnn", "exact scan"),
)
DENSE = (Case("GRU", EXAMPLES / "gru.rnn", None), Case("LSTM", EXAMPLES / "lstm.rnn", None))


def diagonal(scale: Scale) -> tuple[Case, ...]:
    """Those of DIAGONAL that are measured."""
    return DIAGONAL[:: scale.apart]


def with_kernels(scale: Scale) -> Iterator[Case]:
    """Every cell of the examples and of the zoo that has Triton kernels: `diagonal`, then kernels of channels, then of whole steps, whose
    parallel schedule is rounds over all rows. Of a scale that is a part, one in so many."""
    yield from diagonal(scale)
    programs = [p for p in (*sorted(EXAMPLES.glob("*.rnn")), *sorted((EXAMPLES / "zoo").glob("*.rnn"))) if p not in [c.program for c in DIAGONAL]]
    for tiled in (False, True):
        for program in programs[:: scale.every]:
            cell, layer_class = _loaded(program)
            kernels = layer_class._kernels["triton"]
            if kernels.kernels and not kernels.refused and bool(kernels.tiled) == tiled:
                yield Case(cell.name, program, "parallel")


def schedules(case: Case) -> dict[str, str]:
    """What each of our candidates is called, and its `schedule`."""
    assert case.parallel is not None
    return {"sequential": "sequential", case.parallel: "newton", "auto": "auto"}


def ours(case: Case, subject: Subject) -> list[Backend]:
    """A candidate for each schedule; the weights are shared."""
    found = []
    for name, schedule in schedules(case).items():
        layer = copy.copy(subject.layer)
        layer._reports = {}
        layer.schedule = schedule
        found.append(Backend(name, subject, layer))
    return found


def reference(subject: Subject) -> Any:
    """The same layer in plain PyTorch."""
    layer = copy.deepcopy(subject.layer)
    layer.backend = "reference"
    return layer
