"""How a recurrence was solved."""

from dataclasses import dataclass

from rnndsl.tiles import CHUNKED, SEQUENTIAL


@dataclass(frozen=True)
class SolveReport:
    """How one recurrence was solved, over all chunks of time (of all programs of a kernel).

    rounds: of Newton's method in a chunk, mean and most; residual: the largest |s[t] - f(s[t-1], u[t])| / (1 + |s[t]|) that was accepted;
    alone: chunks that were run step by step instead; prefix: where all steps from some one on were, how many were solved before it. A sequential
    schedule has one chunk and no rounds.
    """

    recurrence: str
    schedule: str
    chunks: int = 1
    rounds: float = 0.0
    most_rounds: int = 0
    residual: float = 0.0
    alone: int = 0
    prefix: int | None = None

    def __str__(self) -> str:
        if self.schedule == SEQUENTIAL:
            return f"{self.recurrence}: sequential"
        if self.schedule == CHUNKED:
            return f"{self.recurrence}: {self.chunks} chunks, by products of matrices"
        alone = f", {self.alone} of them step by step" if self.alone else ""
        chunks = f"{self.chunks} chunk{'s' * (self.chunks != 1)}"
        rest = "" if self.prefix is None else f"; from step {self.prefix} on step by step"
        rounds = f"{self.rounds:.1f} rounds each, {self.most_rounds} at most"
        return f"{self.recurrence}: {chunks}{alone}, {rounds}, residual {self.residual:.1e}{rest}"
