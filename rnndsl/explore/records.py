"""What a study holds, as plain data: an object a run."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from rnndsl.explore.board import SOLVED
from rnndsl.explore.plan import said_by
from rnndsl.explore.store import ATTEMPTS, ERROR, Group, Store

SETTINGS, RECORD = "settings", "record"  # the attributes of a trial: what was run, and how it ended
_STATES = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running", TrialState.FAIL: "failed"}


def records(where: str | Path | Store) -> list[dict[str, Any]]:
    """Every run of a study that counts: of a folder, or of a database by its URL. Each has

    cell, key, family, structure, growth    the cell's label, a few letters for what its program says, what the compiler finds; None for a baseline
    task, about, metric_name, chance, goal  the task, what it asks, what is measured, the score by chance, the one that counts as learned, if there is one
    train, test                             the lengths of training and testing
    size, dim, sizes, seed, lr              as text, and by name
    status                                  waiting, running, done, solved (before its last step), diverged, failed
    steps, metric, beyond, by_length        steps taken; the score at the longest length of training, the mean over those beyond, and each: a length and a score
    solved, solved_at                       whether the metric counts as learned; at which step it first did, on unseen sequences
    parameters, seconds, step_seconds       of the model; of the run; the median of a step
    looks                                   on its way: step, loss, score, beyond
    error                                   of one that failed
    training, device, machine, threads, torch, python, rnndsl

    and None where that is not known yet, or no finite number. Raises Unfit where there is no study."""
    store = where if isinstance(where, Store) else Store(str(where), is_new=False)
    groups = store.groups()
    cells = _told_apart([(g.attributes["cell"]["label"], g.attributes["cell"]["key"]) for g in groups])
    tasks = _told_apart([(g.attributes["task"]["name"], g.attributes["task"].get("key") or g.study.study_name.rpartition(" ")[2]) for g in groups])
    found = []
    for group, cell, task in zip(groups, cells, tasks, strict=True):
        left, deaths = group.left(), group.deaths()
        for trial in sorted([*group.counting().values(), *left.values()], key=lambda t: t.number):
            case = trial.user_attrs["case"]
            waits = deaths[case] < ATTEMPTS if case in left else trial.state == TrialState.RUNNING and not store.lives(group, trial)
            found.append(_record(group, cell, task, trial, "waiting" if waits else _STATES.get(trial.state, "failed")))
    return found


def _told_apart(named: list[tuple[str, str]]) -> list[str]:
    """Names, of each key the first, with the key where several things are called alike."""
    first = {key: name for name, key in reversed(named)}
    several = Counter(first.values())
    return [first[key] if several[first[key]] == 1 else f"{first[key]}@{key}" for _, key in named]


def _record(group: Group, cell_name: str, task_name: str, trial: FrozenTrial, state: str) -> dict[str, Any]:
    cell, task, said = group.attributes["cell"], group.attributes["task"], trial.user_attrs
    settings, ended = said.get(SETTINGS) or said_by(said["case"]), said.get(RECORD, {}) if trial.state == TrialState.COMPLETE else {}
    by_length = ended.get("by_length")
    goal = task.get("solved", SOLVED if task["metric"] == "accuracy" else None)
    lost = "its workers died; the same command tries it again" if state == "failed" and trial.state == TrialState.FAIL else None
    return _finite({
        "cell": cell_name, "key": cell["key"], **{n: cell.get(n) for n in ("family", "structure", "growth")},
        "task": task_name, "about": task.get("about"), "metric_name": task["metric"], "chance": task["chance"], "goal": goal,
        "train": task["train"], "test": task["test"],
        **{n: settings.get(n) for n in ("size", "dim", "sizes", "seed", "lr")},
        "status": ended.get("status") or state,
        **{n: ended.get(n) for n in ("steps", "metric", "beyond")},
        "by_length": None if by_length is None else [[int(n), score] for n, score in by_length.items()],
        "solved": ended.get("is_solved"),
        **{n: ended.get(n) for n in ("solved_at", "parameters", "seconds", "step_seconds", "looks")},
        "error": said.get(ERROR) or lost,
        "training": group.attributes["training"],
        **{n: settings.get(n) for n in ("device", "machine", "threads", "torch", "python", "rnndsl")},
    })  # fmt: skip


def _finite(data: Any) -> Any:
    """Plain data as JSON has it: without infinities, and what is no number."""
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
