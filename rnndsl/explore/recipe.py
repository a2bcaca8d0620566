"""How every model of a study is made and trained."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Training:
    """How every model of a study is made and trained. layers: blocks; block: `plain`, a norm, the cell between two projections, and what
    came in added, or `full`, with a convolution of four steps before the cell, a gate behind it, and an MLP of twice the width. decay: of weights that are matrices. warmup: the share of
    the steps in which the rate rises; rate_end: the share of it that a cosine leaves. looks: how often it is validated. forcing: of a model that is the cell alone and
    foretells a system by its state, how strongly that is drawn to the data, from 0 to 1, or `adaptive`; None for models of blocks."""

    steps: int = 1600
    batch: int = 128
    layers: int = 1
    block: str = "plain"
    clip: float = 1.0
    decay: float = 0.01
    warmup: float = 0.05
    rate_end: float = 0.1
    looks: int = 20
    forcing: float | str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def share_of_rate(step: int, training: Training) -> float:
    """The share of the rate at a step, counted from 0: it rises in a line, then falls by a cosine."""
    rising = max(1, round(training.warmup * training.steps))
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, training.steps - rising)
    return training.rate_end + (1 - training.rate_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
