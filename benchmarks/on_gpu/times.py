"""All candidates at one point, in turn."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache

import torch

from on_gpu.cells import Case
from on_gpu.device import Gpu
from on_gpu.record import Record, Row
from on_gpu.timing import host_and_peak, race
from rnndsl.tools.bench.bound import copy_call, moved_bytes
from rnndsl.tools.bench.candidates import Absent, Backend, Call, Candidate, Task, Tensors, gap
from rnndsl.tools.bench.subject import Subject
from rnndsl.tools.tune.calls import calls_of

FIRST = 60.0  # seconds for the first call of a candidate, which may compile
COPY, SPECIAL = "bound: bytes", "bound: special functions"


@dataclass(frozen=True)
class Maker:
    """Makes a candidate; `name` is what it will be called."""

    name: str
    make: Callable[[], Candidate]


def point(
    record: Record, group: str, case: Case, subject: Subject, task: Task, makers: Iterable[Maker], machine: Gpu, samples: int, special: float | None
) -> Iterator[Row]:
    """A row a candidate that ran, then the bounds of a recurrence. Numbers are compared with those of the first candidate, where the tensors are
    the same. One that fails is an error of the record."""
    sizes = subject.layer._sizes
    head: Row = {
        "cell": case.name, "scope": task.scope, "direction": task.direction, "B": subject.batch, "T": subject.steps, **sizes,
        "channels": subject.batch * sizes["H"],
    }  # fmt: skip
    where = f"{case.name}, {task.scope}, {task.direction}, {head['channels']} channels, {subject.steps} steps"
    calls: dict[str, Call] = {}
    rows: dict[str, Row] = {}
    first: tuple[Candidate, Tensors] | None = None
    for maker in makers:
        record.check()
        if record.is_hopeless(group, maker.name):
            continue
        try:
            with record.limited(FIRST, who=maker.name):
                candidate = maker.make()
                call = candidate.call(task)
                found = candidate.as_ours(call()) if hasattr(candidate, "as_ours") else call()
                first = first or (candidate, found)
                far = gap(found, first[1]) if _comparable(task, candidate, found, *first) else None
                del found
                host, peak = host_and_peak(call, machine)
                about = {"name": candidate.name, "ours": candidate.ours, "note": candidate.note, "gap": far, "host": host, "peak_bytes": peak}
                rows[candidate.name] = {**head, **about, **_said(candidate)}
            calls[candidate.name] = call
        except Absent:
            continue  # another cell
        except ImportError as e:
            record.leave_out(group, maker.name, str(e))
        except Exception as e:
            record.error(group, where, e, maker.name)
    first = None
    if task.scope == "recurrence" and calls:
        moved = moved_bytes([t for r in subject.recurrences for t in r.call.streams], [t for r in subject.recurrences for t in r.states], task.direction)
        calls[COPY] = copy_call(moved, machine.device)
        rows[COPY] = {**head, "name": COPY, "ours": False, "note": "a copy that moves as many bytes", "bytes_moved": moved}
    timings = race(calls, machine.timer, samples, lambda name, e: record.error(group, where, e, name))
    rows = {name: {**rows[name], "median": t.median, "quartiles": list(t.quartiles), "seconds": t.seconds} for name, t in timings.items()}
    best = min((r["median"] for r in rows.values() if r["ours"] and r["name"] != "auto"), default=None)
    for row in rows.values():
        yield row | ({"of_best": row["median"] / best} if row["name"] == "auto" and best else {})
    if task.scope == "recurrence" and calls and special and case.parallel:
        count = head["channels"] * subject.steps * special_functions(case, sizes["H"], machine.device, task.both)
        yield {**head, "name": SPECIAL, "ours": False, "note": "computed, from the rate of sigmoids", "count": count, "median": count / special}


def _comparable(task: Task, candidate: Candidate, found: Tensors, first: Candidate, expected: Tensors) -> bool:
    """Whether two candidates return the same tensors: the gradients of another library's layer are of other params."""
    ours = isinstance(candidate, Backend) and isinstance(first, Backend)
    return (ours or not task.both) and [t.shape for t in found] == [t.shape for t in expected]


def _said(candidate: Candidate) -> Row:
    """How a candidate of ours is cut and what its solver reports; what another's says of itself."""
    if isinstance(candidate, Backend) and candidate.ours:
        plans = candidate.model.plan_for(*candidate.subject.inputs)
        return {"plan": [str(p) for p in plans], "solved": [asdict(r) for r in candidate.model.solve_report()]}
    return {"said": candidate.said} if getattr(candidate, "said", "") else {}


@cache
def special_functions(case: Case, hidden: int, device: torch.device, is_both: bool) -> int:
    """How many a channel needs a step, at least."""
    subject = case.subject(1, 2, {"D": 1, "H": hidden}, device)
    work = [c.launched.kernels.work for c in calls_of(subject.layer, subject.inputs, False, False)]
    return sum(w["step"][1] + (w["pullback"][1] if is_both else 0) for w in work)
