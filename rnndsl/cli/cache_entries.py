"""The folder of built kernels, listed and emptied. `runtime/build.py` fills it."""

import json
import re
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnndsl.cache_folder import RECORD

_ENTRY = re.compile(r"(\w+)-[0-9a-f]{16}(\.failed)?", re.ASCII)
_UNFINISHED = re.compile(r"\.\w+-[0-9a-f]{16}\.\w+", re.ASCII)
_ABANDONED = 3600  # seconds after which nobody works on it any more


@dataclass(frozen=True)
class Entry:
    """A built kernel, or the kept source of one that did not compile."""

    folder: Path
    name: str
    size: int  # bytes
    date: datetime
    compiler: str  # "" for one that did not compile


def entries(folder: Path) -> list[Entry]:
    """What a cache folder holds, by name, oldest first. Raises OSError where it cannot be read; none is an empty one."""
    found = [(p, match) for p in _folders(folder) if (match := _ENTRY.fullmatch(p.name))]
    return sorted((_entry(p, match[1]) for p, match in found), key=lambda e: (e.name, e.date))


def clear(folder: Path) -> list[Entry]:
    """Removes the entries and what builds that were cut off left behind, and nothing else. Returns the entries. Raises OSError."""
    removed = entries(folder)
    for entry in removed:
        shutil.rmtree(entry.folder)
    for path in _folders(folder):
        if _UNFINISHED.fullmatch(path.name) and path.stat().st_mtime < time.time() - _ABANDONED:
            shutil.rmtree(path)
    return removed


def listing(folder: Path, found: list[Entry]) -> str:
    """Entries as a table."""
    if not found:
        return f"no kernels in {folder}\n"
    head = ("kernel", "size", "built", "compiler")
    rows = [(e.name, size_text(e.size), f"{e.date.astimezone():%Y-%m-%d %H:%M}", e.compiler or "did not compile") for e in found]
    name, size = (max(len(row[i]) for row in (head, *rows)) for i in (0, 1))
    lines = [f"{a:<{name}}  {b:>{size}}  {c:<16}  {d}" for a, b, c, d in (head, *rows)]
    return "\n".join([*lines, "", f"{summary(found)} in {folder}"]) + "\n"


def summary(found: list[Entry]) -> str:
    return f"{len(found)} kernel{'s' * (len(found) != 1)}, {size_text(sum(e.size for e in found))}"


def as_data(folder: Path, found: list[Entry]) -> dict[str, Any]:
    """Entries as plain data; sizes in bytes, dates in ISO 8601."""
    kernels = [
        {"name": e.name, "folder": str(e.folder), "size": e.size, "date": e.date.isoformat(), "compiler": e.compiler or None} for e in found
    ]
    return {"folder": str(folder), "size": sum(e.size for e in found), "kernels": kernels}


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _folders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()] if folder.exists() else []


def _entry(path: Path, name: str) -> Entry:
    try:
        record = json.loads((path / RECORD).read_bytes())
        date, compiler = datetime.fromisoformat(record["date"]), str(record["compiler"])
    except (OSError, ValueError, KeyError, TypeError):
        date, compiler = datetime.fromtimestamp(int(path.stat().st_mtime), UTC), ""
    return Entry(path, name, sum(p.stat().st_size for p in path.iterdir() if p.is_file()), date, compiler)
