"""What was measured: a file, saved as it comes, so that nothing is lost when the next piece fails, hangs or brings its process down. Another
process goes on from the file."""

import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnndsl.tools.bench.limit import time_limit
from rnndsl.tools.bench.run import failure

FAILURES = 3  # of a candidate in a group, after which it is not tried any more
PIECE = 120.0  # seconds that a piece may take
GRACE = 8.0  # seconds after which a process that has overrun what it was given is killed
START = 60.0  # seconds that a process may take until its first piece
OFTEN = 2.0  # seconds between two savings in a piece
Row = dict[str, Any]


class OutOfTime(Exception):
    """The time of the run is over."""


class ShareUsed(OutOfTime):
    """The time of a group is over, not that of the run."""


class Lost(Exception):
    """The device answers no more in this process."""


class Record:
    """Rows by group, errors, which pieces are over, and the time that is left.

    ends: when the run is over, by time.monotonic(), which processes share. machine: the Gpu that this process measures on; none where it only watches.
    """

    def __init__(self, path: Path, ends: float, machine: Any = None):
        self.data: Row = json.loads(path.read_text()) if path.exists() else {}
        self.data = {"groups": {}, "errors": [], "left_out": [], "pieces": {}, "began": {}, "over": [], "compiled": {}, "launches": {}, "seconds": 0.0} | self.data
        self.path, self.ends, self._machine = path, ends, machine
        self._start = self.data.setdefault("started", time.monotonic())
        self._share_ends, self._saved, self._now = float("inf"), 0.0, {"group": "", "where": "", "who": ""}

    @property
    def groups(self) -> dict[str, list[Row]]:
        return self.data["groups"]

    def begin(self, group: str, share: float) -> None:
        """A group begins, or goes on, which may take so many seconds in all."""
        began = self.data["began"].setdefault(group, time.monotonic())
        self._share_ends = began + share
        self.groups.setdefault(group, [])
        self.data["pieces"].setdefault(group, {})
        self._tell(START, group=group, where="", who="")

    def end(self, group: str) -> None:
        """A group is over."""
        self.data["over"].append(group)
        self.save()

    def check(self) -> None:
        """Raises OutOfTime; ShareUsed where only the group's time is over."""
        if time.monotonic() > self.ends:
            raise OutOfTime
        if time.monotonic() > self._share_ends:
            raise ShareUsed

    def add(self, group: str, where: str, make: Callable[[], Iterable[Row]], limit: float | None = PIECE) -> None:
        """Keeps the rows of a piece, as they come; nothing where it is over. One that fails is an error of the record, and costs no other.
        Without a limit it must look at the time itself. Raises OutOfTime, and Lost."""
        pieces = self.data["pieces"].setdefault(group, {})
        if where in pieces:
            return
        self.check()
        rows, began = self.groups.setdefault(group, []), time.monotonic()

        def collect() -> None:
            with self.limited(limit, group=group, where=where):
                for row in make():
                    rows.append(row)
                    if time.monotonic() > self._saved + OFTEN:
                        self.save()

        try:
            self.guarded(group, where, collect)
        except Lost:
            pieces[where] = None
            raise
        else:
            pieces[where] = round(time.monotonic() - began, 2)
        finally:
            self._watched(group, where)
            self.save()
            gc.collect()  # so that no tensor of it is left on the device

    def _watched(self, group: str, where: str) -> None:
        """Keeps what was seen of the launches of a piece, where somebody looks."""
        if self._machine is not None:
            for kernel, said in self._machine.faults().items():
                self._note(group, where, f"{kernel}: {said}", "the emulator")
            self.count("launches", group, self._machine.launches())

    @contextmanager
    def limited(self, seconds: float | None, **what: str) -> Iterator[None]:
        """Raises TookTooLong in the block after so many seconds, or soon after the end of the group's share; who watches this process is told
        when it may kill it. what: group, where, who; what is not said is as before. Without seconds: to the end of the share, without raising."""
        before, left = self._now, max(1.0, min(self._share_ends, self.ends) - time.monotonic())
        try:
            self._tell(left if seconds is None else min(seconds, left), **what)
            with time_limit(None if seconds is None else min(seconds, left)):
                yield
        finally:
            self._tell(left, **before)

    def _tell(self, seconds: float, **what: str) -> None:
        self._now = self._now | what
        told = progress_of(self.path)
        unfinished = told.with_suffix(".telling")
        unfinished.write_text(json.dumps(self._now | {"kill_at": min(time.monotonic() + seconds, self.ends) + GRACE}))
        os.replace(unfinished, told)

    def guarded(self, group: str, where: str, act: Callable[[], None]) -> None:
        """Does something whose failure is an error of the record, and no more than that. Raises OutOfTime, and Lost."""
        try:
            act()
        except (OutOfTime, Lost):
            raise
        except Exception as e:
            self.error(group, where, e)

    def error(self, group: str, where: str, e: Exception | str, who: str = "") -> None:
        """Notes an error. Raises Lost where the device answers no more: nothing can be measured after that in this process."""
        said = e if isinstance(e, str) else failure(e)
        self._note(group, where, said, who)
        if self._machine is None:
            return
        try:
            self._machine.synchronize()
        except Exception as lost:
            self._note(group, "the GPU answers no more", failure(lost), who)
            raise Lost from None

    def _note(self, group: str, where: str, said: str, who: str) -> None:
        self.data["errors"].append({"group": group, "who": who, "where": where, "error": said})
        print(f"{group}: {who}{', ' * bool(who)}{where}: {said}", file=sys.stderr)

    def leave_out(self, group: str, what: str, why: str) -> None:
        """Notes, once, what is not measured."""
        row = {"group": group, "what": what, "why": why}
        if row not in self.data["left_out"]:
            self.data["left_out"].append(row)

    def is_hopeless(self, group: str, who: str) -> bool:
        """Whether a candidate has failed so often that another try would be a waste of time."""
        return sum(e["group"] == group and e["who"] == who for e in self.data["errors"]) >= FAILURES

    def count(self, key: str, group: str, counts: dict[str, int]) -> None:
        """Adds to the counts of a group."""
        self.data[key][group] = dict(Counter(self.data[key].get(group, {})) + Counter(counts))

    def save(self) -> None:
        """Writes the file at once."""
        self._saved = time.monotonic()
        self.data["seconds"] = round(self._saved - self._start, 1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.data, indent=1) + "\n")
        os.replace(unfinished, self.path)


def progress_of(path: Path) -> Path:
    """The file that says what the process that writes a record is doing, and when it may be killed."""
    return path.with_suffix(".progress")
