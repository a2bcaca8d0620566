"""One run: a model trained on a task from a seed, looked at from time to time, judged at lengths within and beyond those of training."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import nn

from rnndsl.explore.models import model
from rnndsl.explore.plan import Case
from rnndsl.explore.recipe import Training, share_of_rate
from rnndsl.tasks import Batch, Task

LOOK, JUDGEMENT = (256, 2**14), (512, 2**17)  # sequences and steps, at most, of a look, of each of its lengths; of the judgement at the end
BEYOND = 4  # lengths beyond those of training


@dataclass(frozen=True)
class Look:
    """What is seen of a run on its way. step: optimiser's steps so far; loss: of the last batch; score: on unseen sequences as long as the longest of training;
    beyond: on the longest."""

    step: int
    loss: float
    score: float
    beyond: float


@dataclass(frozen=True)
class Outcome:
    """How a run ended. status: `done`; before its last step `solved`, `diverged`, or `stopped` by a search; metric: the score on unseen sequences as long as the longest of
    training, None where it diverged; beyond: the mean over lengths beyond; by_length: the score at each length. seconds: in all; step_seconds: the median of a
    step's."""

    status: str
    steps: int
    metric: float | None
    beyond: float | None
    by_length: dict[int, float]
    is_solved: bool
    solved_at: int | None
    parameters: int
    seconds: float
    step_seconds: float
    looks: tuple[Look, ...]


def lengths_beyond(task: Task) -> list[int]:
    """Lengths from the longest of training, which is left out, to the longest of testing, each as many times as long as the one before."""
    low, high = task.train[1], task.test[1]
    if high <= low:
        return []
    return sorted({round(low * (high / low) ** (i / BEYOND)) for i in range(1, BEYOND + 1)})


class Run:
    """A run of a case. Iterate over it for the looks on its way; then ask for its outcome."""

    def __init__(self, case: Case, training: Training, device: Any = "cpu"):
        self.case, self.training, self.task, self.device = case, training, case.task, torch.device(device)
        self._looks: list[Look] = []
        self._times: list[float] = []
        self._start = time.perf_counter()
        self._has_diverged = self._has_solved = False
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(case.seed)
            self.model = model(case.candidate, case.task, training, case.shape).to(self.device)

    def __iter__(self) -> Iterator[Look]:
        """Trains. Ends after the last step, when the model has twice running solved what it is shown, or where its loss is no number any more."""
        training, case = self.training, self.case
        optimizer = torch.optim.AdamW(_groups(self.model, training.decay), case.rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, training))
        every = max(1, training.steps // training.looks)
        known, longest = (self._unseen(LOOK, length) for length in (self.task.train[1], self.task.test[1]))
        for step in range(1, training.steps + 1):
            start = time.perf_counter()
            inputs, targets = self._moved(self.task.batch(training.batch, case.seed, step))
            optimizer.zero_grad(set_to_none=True)
            loss = self.task.loss(self.model(inputs), targets)
            loss.backward()
            size = nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
            if not torch.isfinite(loss.detach() + size):
                self._has_diverged = True
                return
            optimizer.step()
            schedule.step()
            self._times.append(time.perf_counter() - start)
            if step % every == 0 or step == training.steps:
                self._looks.append(Look(step, loss.item(), self._score(known), self._score(longest)))
                yield self._looks[-1]
                if len(self._looks) > 1 and all(self.task.is_solved(s) for look in self._looks[-2:] for s in (look.score, look.beyond)):
                    self._has_solved = True
                    return

    def outcome(self) -> Outcome:
        """How it ended."""
        by_length: dict[int, float] = {}
        if not self._has_diverged:
            lengths = [self.task.train[1], *lengths_beyond(self.task)]
            by_length = {n: self._score(self._unseen(JUDGEMENT, n, number=1)) for n in lengths}
        scores = list(by_length.values())
        metric = scores[0] if scores and math.isfinite(scores[0]) else None
        is_whole = len(self._times) == self.training.steps
        return Outcome(
            status="diverged" if metric is None else "done" if is_whole else "solved" if self._has_solved else "stopped",
            steps=len(self._times),
            metric=metric,
            beyond=sum(scores[1:]) / len(scores[1:]) if metric is not None and len(scores) > 1 else None,
            by_length=by_length,
            is_solved=metric is not None and self.task.is_solved(metric),
            solved_at=next((look.step for look in self._looks if self.task.is_solved(look.score)), None),
            parameters=sum(p.numel() for p in self.model.parameters()),
            seconds=time.perf_counter() - self._start,
            step_seconds=median(self._times) if self._times else math.nan,
            looks=tuple(self._looks),
        )

    def _unseen(self, most: tuple[int, int], length: int, number: int = 0) -> Batch:
        """Sequences of no training, the same for every case."""
        count, steps = most
        return self._moved(self.task.batch(max(1, min(count, steps // length)), 0, number, "test", length))

    @torch.no_grad()
    def _score(self, unseen: Batch) -> float:
        self.model.eval()
        score, _ = self.task.score(self.model(unseen.inputs), unseen.targets)
        self.model.train()
        return score

    def _moved(self, batch: Batch) -> Batch:
        return Batch(*(t.to(self.device) for t in batch))


def _groups(whole: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights that decay, matrices, and those that do not."""
    given = list(whole.parameters())
    return [{"params": [p for p in given if p.ndim >= 2], "weight_decay": decay}, {"params": [p for p in given if p.ndim < 2], "weight_decay": 0.0}]


