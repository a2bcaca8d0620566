"""Processes that may crash or hang: started, watched, and killed in time."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from on_gpu.record import GRACE, START, Record, progress_of
from on_gpu.worker import LOST

LOOK = 0.1  # seconds between two looks
FRUITLESS = 4  # processes in a row that ended before a piece did, after which the rest is left out


def started(*command: str, **environment: str) -> subprocess.Popen:
    """A process of this package, with what it starts in a group of its own."""
    return subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **environment}, start_new_session=True)


def end_with_parent() -> None:
    """Asks the system, where it is Linux, to kill this process once the one that started it has ended, however that was."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def kill(process: subprocess.Popen) -> None:
    """Ends a process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def measured(path: Path, device: str, scale: str, ends: float, shares: dict[str, float]) -> None:
    """Runs workers until all groups are over, or the time is. A worker that crashes, or overruns what it was given, costs the piece that it was
    at, which is noted as an error; the next one goes on behind it."""
    fruitless = 0
    while True:
        record = Record(path, ends)
        left = {g: s for g, s in shares.items() if g not in record.data["over"]}
        if not left or time.monotonic() > ends:
            return
        if fruitless >= FRUITLESS:
            for group in left:
                record.leave_out(group, "the rest", f"{FRUITLESS} processes in a row ended before a piece did")
            record.save()
            return
        before = _pieces(record)
        told = ",".join(f"{g}={s:g}" for g, s in left.items())
        how = _watched(path, ("on_gpu.worker", str(path), "--device", device, "--scale", scale, "--ends", str(ends), "--shares", told), ends)
        if how == 0:
            return
        record = Record(path, ends)
        if how != LOST:
            _blame(record, path, how, next(iter(left)))
        fruitless = 0 if _pieces(record) > before + 1 else fruitless + 1


def _pieces(record: Record) -> int:
    return sum(len(pieces) for pieces in record.data["pieces"].values())


def _watched(path: Path, command: tuple[str, ...], ends: float) -> int | None:
    """The exit status of a process, negative for a signal; None where it was killed, since it overran what it was given."""
    progress = progress_of(path)
    progress.unlink(missing_ok=True)
    process = started(*command)
    kill_at = time.monotonic() + START
    try:
        while process.poll() is None:
            time.sleep(LOOK)
            if progress.exists():
                kill_at = json.loads(progress.read_text())["kill_at"]
            if time.monotonic() > min(kill_at, ends + GRACE):
                return None
        return process.returncode
    finally:
        kill(process)


def _blame(record: Record, path: Path, status: int | None, group: str) -> None:
    """Notes at what a process ended, as over."""
    told = json.loads(progress_of(path).read_text()) if progress_of(path).exists() else {"group": group, "where": "", "who": ""}
    group, where = told["group"], told["where"]
    record.error(group, where or "its start", _how(status), told["who"])
    if where:
        record.data["pieces"].setdefault(group, {})[where] = None
    record.save()


def _how(status: int | None) -> str:
    if status is None:
        return "it overran what it was given, and its process was killed"
    return f"its process was ended by {signal.Signals(-status).name}" if status < 0 else f"its process ended with status {status}"
