"""What a generated module says of its kernels in Triton. Needs no triton."""

from dataclasses import dataclass, field

from rnndsl.runtime.kernels import KernelText, Step


@dataclass(frozen=True)
class TritonKernels(KernelText):
    """The Triton kernels of a cell: their text, the names in it of sizes, hyperparameters and the kernels of recurrences, one step of the
    whole, which recurrences have kernels of whole steps, and why others have none; rows: the text of rounds of Newton's method, rounds: the names in it
    of those of recurrences, and unrounded: why others of whole steps have none."""

    COMMENT = "#"
    TEXTS = ("source", "rows")
    source: str = ""
    sizes: dict[str, str] = field(default_factory=dict)
    hypers: dict[str, str] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    step: Step | None = None
    tiled: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    rows: str = ""
    rounds: dict[str, str] = field(default_factory=dict)
    unrounded: dict[str, str] = field(default_factory=dict)
