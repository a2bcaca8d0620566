"""What a task is: a frozen value that makes batches from a seed, and judges answers."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rnndsl.nn.invariants import state_space_divergence

IGNORE = -100  # the target where nothing is asked; NaN among values


class Batch(NamedTuple):
    """inputs: tokens, whole numbers [B, T], or values [B, T, D]. targets: of each step, whole numbers [B, T], or values [B, T, K]."""

    inputs: Tensor
    targets: Tensor


class Draw:
    """Random numbers that depend on what they are for alone: the same in every process, and on every device, where they arrive by a copy."""

    def __init__(self, *what: Any):
        digest = hashlib.sha256(repr(what).encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def below(self, n: int, *shape: int) -> Tensor:
        """Whole numbers in [0, n)."""
        return torch.randint(n, shape, generator=self._generator)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def orders(self, count: int, n: int) -> Tensor:
        """Permutations of n, [count, n]."""
        return self.uniform(count, n).argsort(1)


@dataclass(frozen=True)
class Task:
    """One task. A sequence has `length` tokens or values, drawn of a batch as a whole between the two of a split.

    symbols: of the inputs' vocabulary, 0 where inputs are values; width: of values. metric: accuracy, which is to be large; nats, the mean cross-entropy,
    or, of answers that are values, mse or D_stsp, how far trajectories go from where the data go, all of which are to be small. is_system: asked at each step is
    the input of the next one. answers: classes of the targets, or how many values. solved: the score from which it counts as
    learned, if there is one. make: what draws sequences and targets, a function at the top of a module, so that a task can be sent to another process; it
    takes a Draw, how many, how long, the split, and the options.
    """

    name: str
    about: str
    source: str
    make: Callable[..., Batch]
    answers: int
    train: tuple[int, int]
    test: tuple[int, int]
    symbols: int = 0
    width: int = 0
    metric: Literal["accuracy", "nats", "mse", "D_stsp"] = "accuracy"
    solved: float | None = 0.99
    is_system: bool = False
    options: tuple[Any, ...] = ()

    @property
    def has_values(self) -> bool:
        """Whether answers are values, not classes."""
        return self.metric in ("mse", "D_stsp")

    @cached_property
    def chance(self) -> float:
        """The score of who knows how often each answer is right, and nothing else; of 1,024 sequences. Raises ValueError where nothing is asked."""
        targets = self.batch(1024, 0, length=self.train[1]).targets
        if bool((targets.isnan() if self.has_values else targets == IGNORE).all()):
            raise ValueError(f"{self.name}: nothing is asked of sequences of {self.train[1]}")
        if self.has_values:
            asked = targets[~targets.isnan()].view(-1, self.answers)
            mean = asked.mean(0).expand_as(asked)
            return float((asked - mean).square().mean()) if self.metric == "mse" else state_space_divergence(asked, mean)
        often = targets[targets != IGNORE].bincount().double()
        shares = often[often > 0] / often.sum()
        return float(shares.max() if self.metric == "accuracy" else -(shares * shares.log()).sum())

    def as_system(self) -> "Task":
        """The same, judged by where trajectories go that a model makes from their first value on. Raises ValueError where the next value is not what is
        asked."""
        if not self.is_system:
            raise ValueError(f"{self.name} is no system: what it asks is not its next input")
        return replace(self, metric="D_stsp", solved=None)

    def batch(self, count: int, seed: int, number: int = 0, split: str = "train", length: int | None = None) -> Batch:
        """The batch of this number of a seed: `count` sequences, of one length. Of the split `test` also those that are longer than any in training.
        Raises ValueError for another split, a length that is not positive, and what is no batch of such a task."""
        if split not in ("train", "test"):
            raise ValueError(f"split: expected train or test, got {split!r}")
        low, high = getattr(self, split)
        draw = Draw(self.name, split, seed, number)
        drawn = low + int(draw.below(high - low + 1))
        if length is not None and length < 1:
            raise ValueError(f"length: expected a positive number, got {length}")
        return self._checked(count, *self.make(draw, count, drawn if length is None else length, split, *self.options))

    def _checked(self, count: int, inputs: Tensor, targets: Tensor) -> Batch:
        """A batch whose shapes, kinds and numbers are as the task says: what is not would give wrong scores, or an error far from here."""
        kinds = (("inputs", inputs, self.symbols == 0, self.width, self.symbols), ("targets", targets, self.has_values, self.answers, self.answers))
        found = []
        for what, x, has_values, width, below in kinds:
            wanted = f"[{count}, T, {width}] of values" if has_values else f"[{count}, T] of whole numbers"
            if x.shape != (count, inputs.shape[1], *((width,) if has_values else ())) or x.is_floating_point() != has_values or x.is_complex():
                raise ValueError(f"{self.name}: {what}: expected {wanted}, got {list(x.shape)} of {x.dtype}")
            x = x.to(torch.get_default_dtype() if has_values else torch.long)
            known = x if has_values or what == "inputs" else x[x != IGNORE]
            if not has_values and known.numel() and not 0 <= int(known.min()) <= int(known.max()) < below:
                raise ValueError(f"{self.name}: {what}: expected numbers from 0 to {below - 1}, got {int(known.min())} to {int(known.max())}")
            found.append(x)
        return Batch(*found)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training makes small: of logits [B, T, answers] the mean cross-entropy over what is asked, of values the mean square of what is off; 0 where
        nothing is asked."""
        asked = ~targets.isnan() if self.has_values else targets != IGNORE
        if not bool(asked.any()):
            return 0.0 * outputs.sum()
        if not self.has_values:
            return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
        return (outputs[asked] - targets[asked]).square().mean()

    def score(self, outputs: Tensor, targets: Tensor) -> tuple[float, int]:
        """The metric over what is asked, and how many answers that are; NaN where nothing is."""
        asked = ~targets.isnan() if self.has_values else targets != IGNORE
        if self.metric == "D_stsp":
            return state_space_divergence(targets.flatten(0, 1), outputs.flatten(0, 1)), int(asked.sum())
        if self.metric == "accuracy":
            return float((outputs.argmax(-1) == targets)[asked].double().mean()), int(asked.sum())
        return float(self.loss(outputs.double(), targets)), int(asked.sum())

    def is_solved(self, score: float) -> bool:
        if self.solved is None:
            return False
        return score >= self.solved if self.metric == "accuracy" else score <= self.solved


def at_end(answers: Tensor, length: int) -> Tensor:
    """Targets [B, length] that ask for an answer [B] at the last step alone."""
    targets = torch.full((answers.shape[0], length), IGNORE)
    targets[:, -1] = answers
    return targets
