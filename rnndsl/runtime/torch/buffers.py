"""Memory for the results of rounds."""

from collections.abc import Hashable, Sequence

from torch import Tensor

Shape = tuple[int, ...]


class Buffers:
    """Memory for results of rounds of a chunk of some steps, [B, C, *shape], which the next round fills anew. work: values of states of a row."""

    def __init__(self, like: Tensor, batch: int, steps: int, work: int = 1):
        self.like, self.batch, self.steps, self.work = like, batch, steps, work
        self.begin = 0  # steps that have left the chunk
        self.made: dict[Hashable, list[Tensor]] = {}

    def take(self, key: Hashable, shapes: Sequence[Shape]) -> list[Tensor]:
        if key not in self.made:
            self.made[key] = [self.like.new_empty((self.batch, self.steps, *shape)) for shape in shapes]
        return [m[:, self.begin :] for m in self.made[key]]


def buffers_of(first: Sequence[Tensor], steps: int) -> Buffers:
    """Those of a chunk that begins with some values."""
    return Buffers(first[0], first[0].shape[0], steps, sum(f[0].numel() for f in first))
