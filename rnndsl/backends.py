"""The backends with generated kernels: a line each, and everything else of one is in its own folders.

They are named by their modules, since the compiler never imports torch, nor what runs a layer the compiler.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A backend. emitter: the module with `carried(kernels, source)`, what a generated module says of its kernels; runtime: the module with `BACKEND`,
    which runs them."""

    name: str
    emitter: str
    runtime: str


TABLE = (
    Entry("cpu", "rnndsl.emit.cpp.carried", "rnndsl.runtime.cpu.backend"),
    Entry("triton", "rnndsl.emit.triton.carried", "rnndsl.runtime.triton.backend"),
    Entry("torch", "rnndsl.emit.torch.carried", "rnndsl.runtime.torch.backend"),
)
NAMES = tuple(entry.name for entry in TABLE)
