"""A worker: sees that everything of a plan is queued, and takes one run after the other until all have ended."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from rnndsl.explore.plan import Case, Open, Plan
from rnndsl.explore.runs import Watch, carry_out
from rnndsl.explore.store import Group, Store
from rnndsl.tasks import Task
from rnndsl.tools import Unfit

PAUSE = 1.0  # seconds between looks at what others do


@dataclass(frozen=True)
class Work:
    """A plan's cases, in their order, each with the group that it belongs to."""

    plan: Plan
    cases: tuple[Case | Open, ...]
    store: Store
    names: tuple[str, ...]

    def queued(self) -> dict[str, Group]:
        """The groups by name, as they are now, where every case is queued."""
        found = {}
        for name in dict.fromkeys(self.names):
            own = [c for c, n in zip(self.cases, self.names, strict=True) if n == name]
            group = self.store.group(name, "maximize" if own[0].task.metric == "accuracy" else "minimize", lambda own=own: _attributes(self.plan, own[0]))  # type: ignore[misc]
            self.store.queue(group, own)
            found[name] = self.store.now(group)
        return found

    def ended(self, groups: dict[str, Group]) -> dict[int, FrozenTrial]:
        """The trial that counts of each case that has ended, by the case's number."""
        counting = {name: {**self.store.given_up(g), **g.counting()} for name, g in groups.items()}
        found = {i: counting[name].get(case.identity) for i, (case, name) in enumerate(zip(self.cases, self.names, strict=True))}
        return {i: t for i, t in found.items() if t is not None and t.state.is_finished()}


def work_of(plan: Plan, cases: Sequence[Case | Open], store: Store) -> Work:
    """What is to be done in a store. Raises Unfit where it trains otherwise."""
    for group in store.groups():
        _check_training(group, plan, store.where)
    drawn = {t.name: fingerprint(t) for t in plan.tasks}
    names = [f"{c.candidate.cell} {c.candidate.key} · {c.task.name} {drawn[c.task.name]}" for c in cases]
    return Work(plan, tuple(cases), store, tuple(names))


def fingerprint(task: Task) -> str:
    """A few letters that change with what a task draws and with what counts as learned. Raises Unfit where it draws nothing that can be learned."""
    try:
        drawn = [task.batch(2, 0, split=split, length=task.train[1]) for split in ("train", "test")]
        task.chance  # noqa: B018 - of many sequences
    except Exception as e:  # of a task of the user's
        why = str(e).removeprefix(f"{task.name}: ") if isinstance(e, ValueError) else f"{type(e).__name__}: {e}"
        raise Unfit(f"task {task.name}: {why}") from e
    said = repr((task.train, task.test, task.metric, task.answers, task.solved, task.options, [t.tolist() for b in drawn for t in b]))
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def do(work: Work, device: str, watch: Watch, is_over: Callable[[], bool] = lambda: False) -> None:
    """Takes runs until all have ended, those of workers that die too; none is begun once it is over."""
    while True:
        groups = work.queued()
        deaths = {name: g.deaths() for name, g in groups.items()}
        for case, name in sorted(zip(work.cases, work.names, strict=True), key=lambda c: deaths[c[1]][c[0].identity]):  # what kills its workers comes last
            if is_over():
                return
            with work.store.taken(groups[name], case) as trial:
                if trial is not None:
                    carry_out(case, trial, work.plan.training, device, watch)
        if len(work.ended(work.queued())) == len(work.cases):
            return
        time.sleep(PAUSE)


def _attributes(plan: Plan, case: Case | Open) -> dict[str, Any]:
    """What a group says of itself."""
    candidate, task = case.candidate, case.task
    program = candidate.source.text if candidate.source else None
    told = {name: getattr(task, name) for name in ("name", "about", "source", "metric", "chance", "solved", "train", "test")}
    told["key"] = fingerprint(task)
    return {"cell": {"label": candidate.label, "key": candidate.key, "program": program, **candidate.facts}, "task": told, "training": plan.training.data}


def _check_training(group: Group, plan: Plan, where: str) -> None:
    known, wanted = group.attributes["training"], plan.training.data
    other = ", ".join(f"{n} {known.get(n)} and not {v}" for n, v in wanted.items() if known.get(n) != v)
    if other:
        raise Unfit(f"{where}: the study trains with {other}; what is trained otherwise needs another study")
