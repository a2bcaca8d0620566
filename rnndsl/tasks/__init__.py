"""Tasks that tell cells apart: what a state can track, what it keeps, how far back it reaches.

    task          what a task is: batches from a seed, loss, metric
    formal        formal languages and groups          recall   keys and values, copies, hops
    values        sums, a chaotic system, spikes       digits   images, a pixel a step          texts   the bytes of a file
"""

import runpy
import traceback
from pathlib import Path
from typing import Any

from rnndsl.checks.suggest import closest
from rnndsl.tasks import digits, formal, recall, values
from rnndsl.tasks.task import IGNORE, Batch, Draw, Task, at_end
from rnndsl.tasks.texts import text

__all__ = ["IGNORE", "TASKS", "Batch", "Draw", "Task", "at_end", "task", "tasks_of", "text"]

TASKS: dict[str, Task] = {t.name: t for part in (formal, recall, values, digits) for t in part.TASKS}


def task(name: str) -> Task:
    """A task of this name, `text`, or `text:FILE`. Raises ValueError where there is none, OSError for a file that cannot be read."""
    kind, _, file = name.partition(":")
    if kind == "text":
        return text(Path(file) if file else None)
    if name not in TASKS:
        near = closest(name, [*TASKS, "text"])
        raise ValueError(f"there is no task {name!r}; " + (f"did you mean {near}?" if near else f"there are {', '.join([*TASKS, 'text'])}"))
    return TASKS[name]


def tasks_of(name: str) -> list[Task]:
    """The tasks of a command line: `task`'s, or those of a Python file, `mine.py`, which is run for them; `mine.py:NAME` is one of several. Raises ValueError where
    there is none, or where the file goes wrong, OSError for a file that cannot be read."""
    file, dot, chosen = name.partition(".py")
    if not dot or (chosen and not chosen.startswith(":")) or name.startswith("text:"):
        return [task(name)]
    values = [v for v in _run(f"{file}.py").values() if isinstance(v, Task | list | tuple | dict)]
    flat = [t for v in values for t in ([v] if isinstance(v, Task) else v.values() if isinstance(v, dict) else v) if isinstance(t, Task)]
    found = [t for t in dict.fromkeys(flat) if chosen[1:] in ("", t.name)]
    if not found:
        raise ValueError(f"{file}.py has no {'Task' if not chosen else f'task {chosen[1:]}'}" + (f"; it has {', '.join(t.name for t in flat)}" if flat else ""))
    return found


def _run(file: str) -> dict[str, Any]:
    """What a Python file defines."""
    try:
        return runpy.run_path(file)
    except OSError:
        raise
    except Exception as e:
        lines = [e.lineno] if isinstance(e, SyntaxError) else [f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == file]
        place = f"{file}:{lines[-1]}" if lines else file
        raise ValueError(f"{place}: {type(e).__name__}: {e.msg if isinstance(e, SyntaxError) else e}") from e
