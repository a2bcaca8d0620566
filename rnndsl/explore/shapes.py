"""Sizes of models: what was asked for, and what a model has."""

from dataclasses import dataclass

HEADS = 4  # of a cell that has N of them, and of attention


@dataclass(frozen=True)
class Request:
    """What a command says of sizes. dim: of what goes from block to block, H where that is given, 64 otherwise; sizes: of the cells' headers, of which each
    cell takes its own; parameters: how many a model is to have, for which dim is then chosen."""

    dim: int | None = None
    sizes: tuple[tuple[str, int], ...] = ()
    parameters: int | None = None


@dataclass(frozen=True)
class Shape:
    """The sizes of one model. dim: of what goes from block to block; sizes: of the cell's header, `H` of a layer of torch.nn, `mlp` of a transformer."""

    dim: int
    sizes: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """As tables write it."""
        return " ".join(f"{n}={v}" for n, v in (("dim", self.dim), *self.sizes))
