"""A worker: takes one run after the other, trains, and writes down how it ended."""

import platform
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Protocol

import optuna
import torch

from rnndsl.explore.plan import Case, Open, Plan
from rnndsl.explore.store import ERROR, Group, Store
from rnndsl.explore.training import Look, Outcome, Run
from rnndsl.tools import Unfit
from rnndsl.version import VERSION

SETTINGS = "settings"  # the attributes of a trial: what was run, and how it ended
RECORD = "record"


class Watch(Protocol):
    """Who looks on. Each call may take no long time."""

    def look(self, case: Case, look: Look) -> None: ...
    def ended(self, case: Case, what: Any) -> None: ...


def groups_of(plan: Plan, cases: Iterable[Case | Open], store: Store) -> list[tuple[Group, list[Case | Open]]]:
    """The cases of a plan by the groups that they belong to, which are made where they are missing. Raises Unfit where the store trains otherwise."""
    for group in store.groups():
        _check_training(group, plan, store.where)
    found: dict[str, tuple[Group, list[Case | Open]]] = {}
    for case in cases:
        name = f"{case.candidate.label} · {case.task.name} · {case.candidate.key}"
        if name not in found:
            direction = "maximize" if case.task.metric == "accuracy" else "minimize"
            found[name] = store.group(name, direction, _attributes(plan, case)), []
        found[name][1].append(case)
    for group, own in found.values():
        store.queue(group, own)
    return list(found.values())


def _attributes(plan: Plan, case: Case | Open) -> dict[str, Any]:
    """What a group says of itself."""
    candidate, task = case.candidate, case.task
    source = candidate.source
    return {
        "cell": {"label": candidate.label, "key": candidate.key, "program": source.text if source else None, **candidate.facts},
        "task": {"name": task.name, "about": task.about, "source": task.source, "metric": task.metric, "chance": task.chance, "train": task.train, "test": task.test},
        "training": plan.training.data,
    }


def _check_training(group: Group, plan: Plan, where: str) -> None:
    known, wanted = group.attributes.get("training"), plan.training.data
    if known is not None and known != wanted:
        other = ", ".join(f"{n} {known.get(n)} and not {v}" for n, v in wanted.items() if known.get(n) != v)
        raise Unfit(f"{where}: the study trains with {other}; what is trained otherwise needs another study")


def work(plan: Plan, cases: list[Case | Open], store: Store, watch: Watch, device: str, until: float) -> None:
    """Takes runs until all have ended, also those of workers that die, or the clock stands at `until`, behind which none is begun."""
    while True:
        groups = groups_of(plan, cases, store)
        are_all_over = True
        for case, group in _in_order(cases, groups):
            if time.monotonic() > until:
                return
            with store.taken(store.now(group), case) as trial:
                if trial is not None:
                    _run(case, trial, plan, watch, device)
        counted = [t for group, own in groups for t in _counted(store.now(group), own)]
        are_all_over = all(t.state.is_finished() for t in counted)
        if are_all_over or time.monotonic() > until:
            return
        time.sleep(1.0)


def _in_order(cases: list[Case | Open], groups: list[tuple[Group, list[Case | Open]]]) -> list[tuple[Case | Open, Group]]:
    """Each case of a plan, in its order, with its group."""
    group_of = {id(case): group for group, own in groups for case in own}
    return [(case, group_of[id(case)]) for case in cases]


def _counted(group: Group, own: list[Case | Open]) -> list[Any]:
    known = {**group.given_up(), **group.counting()}
    return [known[c.identity] for c in own if c.identity in known]


def _run(open_case: Case | Open, trial: optuna.trial.Trial, plan: Plan, watch: Watch, device: str) -> None:
    """Runs a trial that this process has taken."""
    tell: Callable[..., Any] = trial.study.tell
    case = open_case.settled(trial)
    trial.set_user_attr(SETTINGS, settings_of(case, device))
    try:
        run = Run(case, plan.training, device)
        for look in run:
            trial.report(look.score, look.step)
            watch.look(case, look)
            if isinstance(open_case, Open) and trial.should_prune():
                break
        outcome = run.outcome()
    except Exception as e:  # of whatever is wrong with a cell or a task; the others go on
        message = "".join(traceback.format_exception_only(e)).strip()
        trial.set_user_attr(ERROR, message)
        trial.set_user_attr("traceback", traceback.format_exc())
        tell(trial, state=optuna.trial.TrialState.FAIL)
        watch.ended(case, message)
        return
    trial.set_user_attr(RECORD, asdict(outcome))
    tell(trial, case.task.chance if outcome.metric is None else outcome.metric)
    watch.ended(case, outcome)


def settings_of(case: Case, device: str) -> dict[str, Any]:
    """What a run was, and where, as plain data."""
    return {
        "dim": case.shape.dim, "sizes": dict(case.shape.sizes), "size": case.shape.text, "seed": case.seed, "lr": case.rate, "device": device,
        "rnndsl": VERSION, "torch": torch.__version__, "python": platform.python_version(), "machine": machine(device), "threads": torch.get_num_threads(),
    }  # fmt: skip


def machine(device: str) -> str:
    """The processor's name."""
    from rnndsl.tools.bench.machine import cpu_name

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_name()


__all__ = ["Outcome", "Watch", "groups_of", "work"]
