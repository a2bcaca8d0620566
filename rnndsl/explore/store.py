"""Where runs are queued and kept: Optuna's storage, a journal in a folder, or a database by its URL. Several processes and machines may share it.

A run is a trial of Optuna's study of its cell and task. What must hold whatever dies, and whenever: each case has one trial that counts. That is the first, by
number, that has not failed without an error, as one whose worker died. So queueing may be repeated, and is; a case whose only trial was left is queued again; and a
trial that two processes queued at once counts once. That a worker lives is told by a lock that it holds on its trial's file, which the system lets go of when the
worker ends, or, in a database, by the heartbeats that Optuna keeps. A case of which workers die again and again is given up by who has seen it, and by nobody else:
the same command tries it anew.
"""

import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from rnndsl.explore.plan import Case, Open
from rnndsl.tools import Unfit

BEAT = 20  # seconds between heartbeats in a database
ERROR = "error"  # the attribute of a trial that failed by itself
COMPLETE = "complete"  # the attribute of a group of which everything has been said
ATTEMPTS = 3  # so many workers of a case may die while a process looks on
JOURNAL = "journal.log"

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Group:
    """Optuna's study of one cell on one task, and all its trials as they are now."""

    study: Any
    trials: tuple[FrozenTrial, ...]

    @property
    def attributes(self) -> dict[str, Any]:
        """What it says of itself: cell, task, training."""
        return self.study.user_attrs

    def counting(self) -> dict[str, FrozenTrial]:
        """The trial that counts, of each case that has one."""
        found: dict[str, FrozenTrial] = {}
        for trial in self.trials:
            if not was_left(trial):
                found.setdefault(trial.user_attrs["case"], trial)
        return found

    def deaths(self) -> Counter[str]:
        """How many workers of each case have died."""
        return Counter(t.user_attrs["case"] for t in self.trials if was_left(t))

    def left(self) -> dict[str, FrozenTrial]:
        """The last trial of each case of which none counts: all its workers have died."""
        counting = self.counting()
        return {t.user_attrs["case"]: t for t in self.trials if was_left(t) and t.user_attrs["case"] not in counting}


def was_left(trial: FrozenTrial) -> bool:
    """Whether its worker died."""
    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


class _Lock:
    """Optuna's journal is written by one process at a time; a lock of the system's is let go of when its holder dies. What that had written of a line is taken away."""

    def __init__(self, journal: Path):
        self._journal = journal
        self._lock = FileLock(journal.with_name("journal.lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        with suppress(FileNotFoundError), self._journal.open("rb+") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - 1))
            if f.read() not in (b"", b"\n"):
                f.seek(0)
                f.truncate(f.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


class Store:
    """Optuna's storage, and who of its workers lives."""

    def __init__(self, where: str, is_new: bool):
        """where: a folder, or the URL of a database. is_new: whether it may be made. Raises Unfit where there is none, or no database of such a URL."""
        self.where = re.sub(r"(://[^/:@]*):[^/]*@", r"\1:…@", where)  # as messages call it: without a password
        self._folder = None if "://" in where else Path(where)
        self._before: dict[int, Counter[str]] = {}  # of each group, whose workers had died when this process first saw it
        if self._folder is None:
            if not is_new and where.startswith("sqlite:///") and not Path(where.removeprefix("sqlite:///")).is_file():
                raise Unfit(f"{where}: there is no study in it")
            try:
                with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):  # of heartbeats
                    self._storage: Any = RDBStorage(where, heartbeat_interval=BEAT)
            except Exception as e:  # of the database's driver, whatever that is
                raise Unfit(f"{self.where}: {str(e).splitlines()[0]}") from None
            return
        journal = self._folder / JOURNAL
        if not is_new and not journal.is_file():
            raise Unfit(f"{where}: there is no study in it")
        if self._folder.exists() and not self._folder.is_dir():
            raise Unfit(f"{where}: a study is a folder, and this is a file")
        (self._folder / "running").mkdir(parents=True, exist_ok=True)
        try:
            self._storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=_Lock(journal)))  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError) as e:  # of a line that is none of Optuna's
            raise Unfit(f"{journal}: this is no journal of a study, or it is damaged: {type(e).__name__}: {e}") from None

    def groups(self) -> list[Group]:
        """Every group that is in it, but for those that are only being made."""
        names = optuna.get_all_study_names(self._storage)
        found = [self.find(n) for n in names]
        return [self.now(g) for g in found if COMPLETE in g.attributes]

    def group(self, name: str, direction: Literal["minimize", "maximize"], attributes: Callable[[], dict[str, Any]]) -> Group:
        """The group of this name, made where there is none, and told what it says of itself."""
        study = optuna.create_study(storage=self._storage, study_name=name, direction=direction, load_if_exists=True)
        if COMPLETE not in study.user_attrs:
            for key, value in {**attributes(), COMPLETE: True}.items():
                study.set_user_attr(key, value)
        return self.now(Group(study, ()))

    def find(self, name: str) -> Group:
        """The group of this name, which has been made."""
        return Group(optuna.load_study(study_name=name, storage=self._storage), ())

    def now(self, group: Group) -> Group:
        """The group as it is at this moment."""
        return Group(group.study, tuple(self._storage.get_all_trials(group.study._study_id, deepcopy=False)))

    def lives(self, group: Group, trial: FrozenTrial) -> bool:
        """Whether the worker of a running trial does, as far as is known at once."""
        if self._folder is None:
            return True
        with self._held(group, trial) as is_left:
            return not is_left

    def queue(self, group: Group, cases: Sequence[Case | Open]) -> None:
        """Sees that each of these cases of a group has a trial that counts, or was given up."""
        self._fail_those_left(group)
        group = self.now(group)
        self._before.setdefault(group.study._study_id, group.deaths())
        known = {**group.counting(), **self.given_up(group)}
        for case in cases:
            if case.identity not in known:
                group.study.enqueue_trial({}, user_attrs={"case": case.identity})

    def given_up(self, group: Group) -> dict[str, FrozenTrial]:
        """The last trial of each case that this process has given up."""
        deaths, before = group.deaths(), self._before.get(group.study._study_id, Counter())
        return {case: t for case, t in group.left().items() if deaths[case] - before[case] >= ATTEMPTS}

    @contextmanager
    def taken(self, group: Group, case: Case | Open) -> Iterator[Trial | None]:
        """The trial of a case, to be run by this process alone; None where another process has it, or it has ended."""
        waiting = group.counting().get(case.identity)
        if waiting is None or waiting.state != TrialState.WAITING:
            yield None
            return
        with self._held(group, waiting) as has_it:
            now = self.now(group).counting().get(case.identity) if has_it else None
            if now is None or now.number != waiting.number or not self._begin(group, now):
                yield None
                return
            yield Trial(group.study, self._id(group, now))

    def _begin(self, group: Group, trial: FrozenTrial) -> bool:
        """Whether this process is the one that begins it."""
        try:
            return self._storage.set_trial_state_values(self._id(group, trial), state=TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:  # another was faster, and has ended it already
            return False

    def _fail_those_left(self, group: Group) -> None:
        """Ends the trials whose workers died."""
        if self._folder is None:
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                optuna.storages.fail_stale_trials(group.study)
            return
        for trial in group.trials:
            if trial.state != TrialState.RUNNING:
                continue
            with self._held(group, trial) as is_left, suppress(optuna.exceptions.UpdateFinishedTrialError):  # it may have ended in the meantime
                if is_left:
                    self._storage.set_trial_state_values(self._id(group, trial), state=TrialState.FAIL)

    def _id(self, group: Group, trial: FrozenTrial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(group.study._study_id, trial.number)

    def _file(self, group: Group, trial: FrozenTrial) -> Path:
        assert self._folder is not None
        return self._folder / "running" / f"{group.study._study_id}-{trial.number}"

    @contextmanager
    def _held(self, group: Group, trial: FrozenTrial) -> Iterator[bool]:
        """Holds a trial for this process, as long as it lives; whether no other does."""
        if self._folder is None:
            with _beating(self._storage, self._id(group, trial)):
                yield True
            return
        lock = FileLock(self._file(group, trial), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


@contextmanager
def _beating(storage: Any, trial: int) -> Iterator[None]:
    """Keeps a trial's heart beating, from now on: who dies before the first beat is never missed."""
    storage.record_heartbeat(trial)
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(BEAT):
            storage.record_heartbeat(trial)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
