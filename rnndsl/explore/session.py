"""A command at work: this process as a worker, and others of the same command beside it."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import torch

from rnndsl.explore.console import Bar, Console
from rnndsl.explore.plan import Plan
from rnndsl.explore.store import Store
from rnndsl.explore.worker import do, work_of


def explore(plan: Plan, where: str, device: str, minutes: float | None, workers: int, again: Sequence[str], bar: Bar, is_helper: bool = False) -> None:
    """Carries out a plan in the store at `where`. again: the arguments of this command, with which more workers are started. is_helper: begins no run after
    whoever has started it has died. Raises Unfit for a plan that cannot be carried out, or not in this store."""
    parent = os.getppid() if is_helper else None
    until = time.monotonic() + (60 * minutes if minutes is not None else float("inf"))
    cases = plan.cases(lambda label: bar.say(f"compiling {label}"))
    work = work_of(plan, cases, Store(where, is_new=True))
    work.queued()
    threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else torch.get_num_threads()
    torch.set_num_threads(threads)
    others = [_start(again, threads, minutes) for _ in range(workers - 1)]
    console = Console(work, workers, bar)
    try:
        console.refresh()
        do(work, device, console, lambda: time.monotonic() > until or (parent is not None and os.getppid() != parent))
        for other in others:  # each ends after the run that it has begun
            other.wait()
        console.refresh(is_last=True)
    finally:
        for other in others:
            other.terminate()
        bar.clear()


def _start(arguments: Sequence[str], threads: int, minutes: float | None) -> subprocess.Popen[bytes]:
    """One more worker, which says nothing unless something is wrong. Ctrl-C is this process's to hear, which then ends it."""
    command = [sys.executable, "-m", "rnndsl", "explore", *arguments, "--workers", "1", "--helper"]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, stdin=subprocess.DEVNULL, start_new_session=True)
