"""What was measured: the fastest tiles of a recurrence, by device and shape class, in a file of the cache folder."""

import functools
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from rnndsl.cache_folder import cache_folder, make_private, refuse_shared
from rnndsl.tiles import Tiles

FILE = "tuned.json"


def shape_class(channels: int, steps: int) -> str:
    """Shapes whose sizes lie between the same powers of two are run alike."""
    return f"channels 2^{max(0, channels - 1).bit_length()}, steps 2^{max(0, steps - 1).bit_length()}"


def entry(label: str, channels: int, steps: int, backward: bool) -> str:
    """What a measurement is called in the table of a device."""
    return f"{label}, {shape_class(channels, steps)}, {'backward' if backward else 'forward'}"


def find(device: str, label: str, channels: int, steps: int, backward: bool) -> Tiles | None:
    """The tiles that were measured to be fastest, if any were."""
    found = _table().get(device, {}).get(entry(label, channels, steps, backward))
    return Tiles(**found) if found is not None else None


def store(device: str, measured: dict[str, Tiles]) -> Path:
    """Adds measurements to the file, at once. Raises OSError."""
    _table.cache_clear()
    table = {d: dict(entries) for d, entries in _table().items()}
    table.setdefault(device, {}).update({name: asdict(tiles) for name, tiles in measured.items()})
    path = _path()
    make_private(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}.")
    with os.fdopen(handle, "w", encoding="utf-8") as f:
        json.dump(table, f, indent=2, sort_keys=True)
        f.write("\n")
    os.replace(name, path)
    _table.cache_clear()
    return path


def _path() -> Path:
    return cache_folder() / FILE


@functools.cache
def _table() -> dict[str, dict[str, dict]]:
    """The file's content; nothing where there is none, or it cannot be read."""
    try:
        path = _path()
        refuse_shared(path.parent)
        table = json.loads(path.read_text(encoding="utf-8"))
        for entries in table.values():
            for values in entries.values():
                Tiles(**values)
        return table
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
