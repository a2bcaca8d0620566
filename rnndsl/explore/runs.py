"""One run of a study, from what was queued to what is written down of it."""

import platform
import traceback
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from optuna.trial import Trial, TrialState

from rnndsl.explore.plan import Case, Open
from rnndsl.explore.recipe import Training
from rnndsl.explore.records import RECORD, SETTINGS
from rnndsl.explore.store import ERROR
from rnndsl.explore.training import Look, Run
from rnndsl.tools.bench.machine import processor
from rnndsl.version import VERSION

Watch = Callable[[Case, Look | None], None]  # is called after each look, and with None as a run begins


def carry_out(queued: Case | Open, trial: Trial, training: Training, device: str, watch: Watch) -> None:
    """Runs what this process has taken, and ends its trial. What is wrong with a cell or a task is written down; others go on."""
    case = queued.settled(trial)
    trial.set_user_attr(SETTINGS, _settings(case, device))
    watch(case, None)
    try:
        run = Run(case, training, device)
        for look in run:
            trial.report(look.score, look.step)
            watch(case, look)
            if isinstance(queued, Open) and trial.should_prune():
                break
        outcome = run.outcome()
    except Exception as e:
        trial.set_user_attr("traceback", traceback.format_exc())
        trial.set_user_attr(ERROR, "".join(traceback.format_exception_only(e)).strip())
        trial.study.tell(trial, state=TrialState.FAIL)
        return
    trial.set_user_attr(RECORD, asdict(outcome))
    trial.study.tell(trial, case.task.chance if outcome.metric is None else outcome.metric)


def _settings(case: Case, device: str) -> dict[str, Any]:
    """What a run is, and where, as plain data."""
    return {
        "dim": case.shape.dim,
        "sizes": dict(case.shape.sizes),
        "size": case.shape.text,
        "seed": case.seed,
        "lr": case.rate,
        "device": device,
        "machine": torch.cuda.get_device_name(device) if device.startswith("cuda") else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "rnndsl": VERSION,
    }
