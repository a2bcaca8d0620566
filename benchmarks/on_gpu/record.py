"""What was measured, saved after every piece, so that nothing is lost if the next one fails or the time is up."""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from rnndsl.tools.bench.limit import time_limit
from rnndsl.tools.bench.run import failure

FAILURES = 3  # of a candidate in a group, after which it is not tried any more
PIECE = 120.0  # seconds that a piece may take, where it does not look at the time itself
Row = dict[str, Any]


class OutOfTime(Exception):
    """The time of the run is over."""


class ShareUsed(OutOfTime):
    """The time of a group is over, not that of the run."""


class Record:
    """Rows by group, errors, and the time that is left."""

    def __init__(self, head: Row, path: Path | None, limit: float, device: torch.device):
        self.data: Row = {"version": 1, **head, "groups": {}, "errors": [], "left_out": [], "seconds": 0.0}
        self._path, self._limit, self._device, self._start = path, limit, device, time.monotonic()
        self._share_ends = float("inf")

    @property
    def groups(self) -> dict[str, list[Row]]:
        return self.data["groups"]

    def begin(self, share: float) -> None:
        """A group begins, which may take so many seconds."""
        self._share_ends = time.monotonic() + share

    def check(self) -> None:
        """Raises OutOfTime; ShareUsed where only the group's time is over."""
        if time.monotonic() - self._start > self._limit:
            raise OutOfTime
        if time.monotonic() > self._share_ends:
            raise ShareUsed

    def add(self, group: str, where: str, make: Callable[[], Iterable[Row]], limit: float | None = PIECE) -> list[Row]:
        """Keeps the rows of a piece, as they come. One that fails is an error of the record, and costs no other. Raises OutOfTime."""
        self.check()
        rows: list[Row] = []

        def collect() -> None:
            with time_limit(limit):
                for row in make():
                    rows.append(row)

        try:
            self.guarded(group, where, collect)
        finally:
            self.groups.setdefault(group, []).extend(rows)
            self.save()
            gc.collect()  # so that no tensor of it is left on the device
        return rows

    def guarded(self, group: str, where: str, act: Callable[[], None]) -> None:
        """Does something whose failure is an error of the record, and no more than that. Raises OutOfTime."""
        try:
            act()
        except OutOfTime:
            raise
        except Exception as e:
            self.error(group, where, e)

    def error(self, group: str, where: str, e: Exception, who: str = "") -> None:
        """Notes an error. Raises OutOfTime where the GPU answers no more: nothing can be measured after that."""
        self.data["errors"].append({"group": group, "who": who, "where": where, "error": failure(e)})
        print(f"{group}: {who}{', ' * bool(who)}{where}: {failure(e)}", file=sys.stderr)
        if self._device.type == "cuda":
            try:
                torch.cuda.synchronize(self._device)
            except Exception as lost:
                self.data["errors"].append({"group": group, "who": who, "where": "the GPU answers no more", "error": failure(lost)})
                raise OutOfTime from None

    def leave_out(self, group: str, what: str, why: str) -> None:
        """Notes, once, what is not measured."""
        row = {"group": group, "what": what, "why": why}
        if row not in self.data["left_out"]:
            self.data["left_out"].append(row)

    def is_hopeless(self, group: str, who: str) -> bool:
        """Whether a candidate has failed so often that another try would be a waste of time."""
        return sum(e["group"] == group and e["who"] == who for e in self.data["errors"]) >= FAILURES

    def save(self) -> None:
        """Writes the file at once; none where no path was given."""
        self.data["seconds"] = round(time.monotonic() - self._start, 1)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(self.data, indent=1) + "\n")
            os.replace(unfinished, self._path)
