"""What names the kernels of one recurrence wherever they may be needed, in another process too: a text that says all that they are made from."""

from dataclasses import dataclass
from typing import Any

import torch

from rnndsl.runtime.kernels import CELLS
from rnndsl.runtime.layer import Layer


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
    def text_of(backend: str, layer: Layer, name: str, dtype: torch.dtype, wish: str = "") -> str:
        """The key of a layer's recurrence. Numbers are written so that they read back as they are, -0.0 as itself."""
        return _text(backend, name, dtype, [*layer._sizes.items(), *layer._hypers.items()], wish, layer._kernels[backend].digest)

    def on(self, backend: str) -> str:
        """The key of the same recurrence on another backend, without further settings."""
        return _text(backend, self.name, self.dtype, [*self.sizes.items(), *self.hypers.items()], "", self.cls._kernels[backend].digest)

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


def _text(backend: str, name: str, dtype: torch.dtype, values: list[tuple[str, float]], wish: str, digest: str) -> str:
    said = ",".join(f"{n}={v!r}" for n, v in values)
    return f"{backend}:{name}:{str(dtype).removeprefix('torch.')}:{said}:{wish}:{digest}:{_shown(CELLS[digest])}"


_PROGRAMS = "rnndsl.programs"  # holds the modules of rnndsl.load, whose names are as long as their programs


def _shown(cls: type) -> str:
    module = _PROGRAMS if cls.__module__.startswith(f"{_PROGRAMS}.") else cls.__module__
    return f"{module}.{cls.__qualname__}"
