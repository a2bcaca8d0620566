"""What names the kernels of one recurrence wherever they may be needed, in another process too: a text that says all that they are made from."""

from dataclasses import dataclass
from typing import Any

import torch

from rnndsl.runtime.kernels import CELLS
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.params import header_text

Made = tuple[type[Layer], str, str, str]  # what kernels of a layer are made for: its class, header, schedule and tiles. Before PyTorch 2.12 tracers take no layer for a constant


def made_of(layer: Layer) -> Made:
    return type(layer), layer._header_text, layer._schedule, layer._tiles_text


@dataclass(frozen=True)
class Key:
    """The recurrence `name` of a generated class, on a backend, for given sizes, hyperparameters and dtype. digest: of the kernels of the class;
    cell: what it is called, for messages; wish: further settings of a backend."""

    backend: str
    name: str
    dtype: torch.dtype
    sizes: dict[str, int]
    hypers: dict[str, float]
    wish: str
    digest: str
    cell: str

    @staticmethod
    def text_of(backend: str, made: Made, name: str, dtype: torch.dtype, wish: str = "") -> str:
        """The key of a layer's recurrence."""
        cls, header, *_ = made
        return _text(backend, name, dtype, header, wish, cls._kernels[backend].digest)

    def on(self, backend: str) -> str:
        """The key of the same recurrence on another backend, without further settings."""
        return _text(backend, self.name, self.dtype, header_text(self.sizes, self.hypers), "", self.cls._kernels[backend].digest)

    @staticmethod
    def of(text: str) -> "Key":
        """What a text says. Raises RuntimeError where it is no key."""
        try:
            backend, name, dtype, values, wish, digest, cell = text.split(":", 6)
            pairs = [v.split("=") for v in values.split(",") if v]
            sizes = {n: int(v) for n, v in pairs if v.isdigit()}
            hypers = {n: float(v) for n, v in pairs if not v.isdigit()}
            return Key(backend, name, getattr(torch, dtype), sizes, hypers, wish, digest, cell)
        except (AttributeError, ValueError):
            raise RuntimeError(f"{text!r} names no recurrence: another version of rnndsl made this program; export it again") from None

    @property
    def kernels(self) -> Any:
        """What the module of the class says of its kernels. Raises what `cls` does."""
        return self.cls._kernels[self.backend]

    @property
    def cls(self) -> type[Layer]:
        """The generated class. Raises RuntimeError, which says what to import, where it is not there."""
        found = CELLS.get(self.digest)
        if found is not None:
            return found
        module, _, cell = self.cell.rpartition(".")
        if module != _PROGRAMS and any(_shown(c) == self.cell for c in CELLS.values()):
            raise RuntimeError(f"{self.cell} was compiled from other equations than the program that runs it, or by another version of rnndsl: export the program again")
        first = f"load its program with rnndsl.load, which has the cell {cell}" if module == _PROGRAMS else f"import {module}"
        raise RuntimeError(f"the recurrence `{self.name}` of {self.cell} is not known in this process: {first}, before the program runs")


def _text(backend: str, name: str, dtype: torch.dtype, header: str, wish: str, digest: str) -> str:
    return f"{backend}:{name}:{str(dtype).removeprefix('torch.')}:{header}:{wish}:{digest}:{_shown(CELLS[digest])}"


_PROGRAMS = "rnndsl.programs"  # holds the modules of rnndsl.load, whose names are as long as their programs


def _shown(cls: type) -> str:
    module = _PROGRAMS if cls.__module__.startswith(f"{_PROGRAMS}.") else cls.__module__
    return f"{module}.{cls.__qualname__}"
