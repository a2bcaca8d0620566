"""What the checks of one cell share: the program, subjects, backends that run here, and what the reference gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from rnndsl import compiler
from rnndsl.backends import NAMES
from rnndsl.calculus.analysis import System
from rnndsl.checks.cell import Cell
from rnndsl.diagnostics import Source
from rnndsl.plan.ir import Plan
from rnndsl.runtime.backend import BACKENDS
from rnndsl.runtime.triton.launch import TOLERANCE
from rnndsl.syntax import ast
from rnndsl.tools import Unfit
from rnndsl.tools.data import called
from rnndsl.tools.verify.compare import roundings
from rnndsl.tools.verify.observe import Values, observe
from rnndsl.tools.verify.runs import whole
from rnndsl.tools.verify.settings import Settings
from rnndsl.tools.verify.sizes import ODD, SLOW, SMALL, find_sizes
from rnndsl.tools.verify.subject import Case, Subject


@dataclass(frozen=True)
class Backend:
    """A backend that runs the cell here, and on what device."""

    name: str
    device: str = "cpu"

    @property
    def is_interpreted(self) -> bool:
        """Whether its kernels run in Triton's interpreter, where time says nothing."""
        return BACKENDS[self.name].emulated(torch.device(self.device)) is not None


REFERENCE = Backend("reference")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for PyTorch and for the kernels. Small tensors are quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Context:
    """One cell and what is known of it. threads: how many a layer has here, outside of the checks, which run on one."""

    plan: Plan
    source: Source
    file: ast.File
    layer_class: Any
    settings: Settings
    threads: int = 1
    _values: dict[tuple, Values] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        return self.plan.cell

    @cached_property
    def subject(self) -> Subject:
        """The cell in odd sizes."""
        is_slow = any(self.settings.wants(name) and BACKENDS[name].emulated(torch.device(BACKENDS[name].home())) for name in NAMES)
        return self.of_sizes(find_sizes(self.cell, self.settings.sizes, SLOW if is_slow else ODD))

    @cached_property
    def small(self) -> Subject:
        """The cell in sizes for which every entry of a Jacobian can be looked at."""
        try:
            return self.of_sizes(find_sizes(self.cell, {}, SMALL))
        except Unfit:
            return self.subject

    def of_sizes(self, sizes: dict[str, int]) -> Subject:
        return Subject(self.cell, self.plan, self.layer_class, sizes, self.settings.seed)

    @cached_property
    def system(self) -> System:
        """What the calculus finds, for the small sizes."""
        return compiler.system(self.plan, self.source, self.small.sizes)

    # Backends

    @cached_property
    def _found(self) -> tuple[tuple[Backend, ...], dict[str, str]]:
        found, absent = [REFERENCE], {}
        for name in NAMES:
            if self.settings.backends is not None and not self.settings.wants(name):
                continue
            backend = Backend(name, BACKENDS[name].home())
            why = self._missing(backend)
            if why is None:
                found.append(backend)
            elif self.settings.wants(name):
                raise Unfit(f"--backend {name}: it cannot run {self.cell.name} here: {why}")
            else:
                absent[name] = why
        return tuple(found), absent

    def _missing(self, backend: Backend) -> str | None:
        """Why a backend cannot run the cell here; Triton's interpreter runs where it is asked for."""
        try:
            self.subject.layer(backend.name)
        except (ValueError, RuntimeError) as e:
            return str(e).removeprefix(f"backend: '{backend.name}' cannot run this cell: ").removesuffix("; use 'auto' or 'reference'")
        if backend.is_interpreted and not self.settings.wants(backend.name):
            return "there is no GPU (TRITON_INTERPRET=1 and --backend triton: in Triton's interpreter)"
        if (why := BACKENDS[backend.name].misplaced(torch.device(backend.device))) is not None:
            return f"{why}; TRITON_INTERPRET=1 runs its kernels in Triton's interpreter" if backend.is_interpreted else why
        return None

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Those that run the cell here, the reference first. Raises Unfit for one that was asked for and does not."""
        return self._found[0]

    @property
    def absent(self) -> dict[str, str]:
        """Those that cannot, and why."""
        return self._found[1]

    def unit(self, b: Backend, case: Case, dtype: torch.dtype) -> float:
        """The error that a step may have beside rounding: the residual that a solver stops at, where one runs."""
        layer = self.subject.layer(b.name, dtype, b.device)
        if all(p.schedule != "newton" for p in layer.plan_for(*self.subject.arguments(case, dtype, b.device).inputs)):
            return 0.0
        return TOLERANCE[torch.float64 if dtype == torch.float64 else torch.float32][0]

    # The reference

    def reference(self, case: Case, dtype: torch.dtype = torch.float64, scale: float = 1.0, products: torch.dtype | None = None) -> Values:
        """What the reference gives. products: the dtype of its products, where it is another than inputs of `dtype` have."""
        key = (case, dtype, scale, products)
        if key not in self._values:
            layer = self.subject.layer(dtype=dtype, scale=scale, products=products)
            self._values[key] = observe(self.subject, whole, layer, self.subject.arguments(case, dtype))
        return self._values[key]

    def lost(self, case: Case, scale: float = 1.0) -> dict[str, float]:
        """How many roundings the reference loses in float32."""
        return roundings(self.reference(case, torch.float32, scale), self.reference(case, torch.float64, scale))

    # The text

    @cached_property
    def surrogates(self) -> tuple[str, ...]:
        """The functions with a derivative of their own that the cell calls."""
        tree = next(c for c in self.file.cells if c.name.id == self.cell.name)
        defs = {f.name.id: f for f in self.file.functions}
        return tuple(n for n in defs if n in called(tree, defs) and defs[n].slope is not None)
