"""A layer over ranks against one process: processes of gloo on this machine share the time of one call. Rank 0 measures, the others do as it says."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.multiprocessing.spawn import ProcessException

from rnndsl import programs
from rnndsl.checks.cell import Cell
from rnndsl.diagnostics import Source
from rnndsl.runtime.ranks.call import RankReport
from rnndsl.runtime.ranks.choice import planned
from rnndsl.runtime.ranks.options import Shards
from rnndsl.tools import Unfit
from rnndsl.tools.bench.candidates import Call, Tensors, forward, forward_and_backward, gap, leaves, tensors
from rnndsl.tools.bench.machine import machine
from rnndsl.tools.bench.measure import Timing, race
from rnndsl.tools.bench.report import ALARM, aligned, busy_text, machine_text, seconds_text, times_text, timing_data
from rnndsl.tools.bench.settings import Settings
from rnndsl.tools.bench.subject import DTYPES, Subject, default_sizes, make_layer, weights_like

_PATIENCE = timedelta(days=1)  # for what one process alone takes; a rank that dies ends all others at once


def run(source: Source, cell: Cell, layer_class: Any, settings: Settings) -> dict[str, Any]:
    """The measurements as `--json` prints them. Raises Unfit for sizes that do not fit the cell, and where a rank failed."""
    ranks = settings.ranks or 0
    sizes = default_sizes(cell, settings.sizes)
    layer = make_layer(cell, layer_class, sizes, settings.dtype)
    ways = {name: planned(layer, name, settings.batch, ranks, DTYPES[settings.dtype]).data(ranks) for name in layer._states}
    with TemporaryDirectory() as folder:
        try:
            mp.start_processes(_measure, (folder, source.name, source.text, cell, settings, sizes), nprocs=ranks, daemon=True)
        except ProcessException as e:
            raise Unfit(f"rank {e.error_index} of {ranks} failed: {str(e).strip().splitlines()[-1]}") from None
        tasks = json.loads((Path(folder) / "tasks").read_text(encoding="utf-8"))
    return {
        "version": 1, "program": source.name, "cell": cell.name, "dtype": settings.dtype, "machine": {**machine(), "threads": settings.threads}, "ranks": ranks,
        "B": settings.batch, "T": settings.steps, "sizes": sizes, "predicted": ways, "tasks": tasks,
    }  # fmt: skip


def _measure(rank: int, folder: str, name: str, text: str, cell: Cell, settings: Settings, sizes: dict[str, int]) -> None:
    """What each process does; rank 0 writes down what was measured."""
    torch.set_num_threads(settings.threads or 1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=settings.ranks or 0, timeout=_PATIENCE)
    layer = make_layer(cell, getattr(programs.load(Source(name, text)), cell.name), sizes, settings.dtype)
    layer.backend = settings.backends[0] if len(settings.backends) == 1 else "auto"
    subject = Subject(cell, layer, settings.batch, settings.steps)
    tasks = [_task(subject, d, settings.repeats) for d in settings.directions]
    if rank == 0:
        (Path(folder) / "tasks").write_text(json.dumps(tasks), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


def _task(subject: Subject, direction: str, repeats: int | None) -> dict[str, Any] | None:
    """One direction: both ways of calling the layer compared, then timed in turn. None on ranks that only take part."""
    layer, rank, ranks, both = subject.layer, dist.get_rank(), dist.get_world_size(), direction == "both"
    low, high = (r * subject.steps // ranks for r in (rank, rank + 1))
    shards = Shards(dist.group.WORLD)
    with torch.no_grad():
        shapes = tensors(layer(*(x[:, low:high] for x in subject.inputs), group=shards)[0])
    weights = weights_like(tuple(o.new_empty(()).expand(o.shape[0], subject.steps, *o.shape[2:]) for o in shapes))

    def call(inputs: Tensors, weights: Tensors, **named: Any) -> Call:
        inputs = leaves(inputs)
        outputs = lambda: layer(*inputs, **named)[0]  # noqa: E731
        return forward_and_backward(outputs, (*inputs, *layer.parameters()), weights) if both else forward(outputs)

    shared = call(tuple(x[:, low:high].contiguous() for x in subject.inputs), tuple(w[:, low:high] for w in weights), group=shards)
    own = shared(), [r for r in layer.solve_report() if isinstance(r, RankReport)]
    everyone: list[Any] = [None] * ranks
    dist.gather_object(own, everyone if rank == 0 else None)
    if rank:
        while _told(False):
            shared()
            dist.barrier()
        return None
    alone = call(subject.inputs, weights)
    whole = alone()
    reports = [replace(r[0], sent=max(one.sent for one in r), local=None) for r in zip(*(reports for _, reports in everyone), strict=True)]
    timings = {"one process": Timing(), "ranks": Timing()}
    race({"one process": alone, "ranks": _together(shared)}, timings, repeats, lambda name, done, most: None)
    _told(False)
    of_time = len(subject.inputs) if both else len(whole)  # the first so many have a time; gradients of params are summed over ranks already
    joined = tuple(_joined(parts) if i < of_time else parts[0] for i, parts in enumerate(zip(*(found for found, _ in everyone), strict=True)))
    return {
        "direction": direction, "gap": gap(joined, whole), "times_faster": timings["one process"].median / timings["ranks"].median,
        "recurrences": [{"name": r.recurrence, "way": r.way, "rounds": r.rounds, "gap": r.gap, "sweeps": r.sweeps, "bytes": r.sent} for r in reports],
        "one_process": timing_data(timings["one process"]), "over_ranks": timing_data(timings["ranks"]),
    }  # fmt: skip


def _together(shared: Callable[[], Any]) -> Callable[[], None]:
    """A call of all ranks, as rank 0 starts it; over when the last one is done."""

    def call() -> None:
        _told(True)
        shared()
        dist.barrier()

    return call


def _told(again: bool) -> bool:
    """Whether ranks make the call once more, as rank 0 says."""
    said = torch.tensor([again])
    dist.broadcast(said, 0)
    return bool(said)


def _joined(parts: tuple[Tensor | None, ...]) -> Any:
    """Parts of the time, one behind the other; None where nothing depends on them."""
    there = [p for p in parts if p is not None]
    return torch.cat(there, 1) if there else None


def table(data: dict[str, Any]) -> str:
    """The measurements for a terminal."""
    ranks, m = data["ranks"], data["machine"]
    sizes = "".join(f", {n} = {v}" for n, v in data["sizes"].items())
    lines = [f"{data['cell']} ({data['program']}), {data['dtype']}, B = {data['B']}, T = {data['T']}{sizes}", f"{machine_text(m)}; gloo on this machine"]
    lines += busy_text(m)
    if m["cores"] and ranks * m["threads"] > m["cores"]:
        lines.append(f"Mind: {ranks} ranks share {m['cores']} cores; so many machines would be faster.")
    for task in data["tasks"]:
        one, over = task["one_process"], task["over_ranks"]
        rows = [
            [what, seconds_text(t["median"]), " to ".join(map(seconds_text, t["quartiles"])), times_text(one["median"] / t["median"]), ""]
            for what, t in (("one process", one), (f"{ranks} ranks", over))
        ]
        title = "Layer, forward and backward" if task["direction"] == "both" else "Layer, forward"
        lines += ["", *aligned([[title, "median", "quartiles", "against one process", ""], *rows])]
        lines += [f"  {RankReport(r['name'], r['way'], ranks, r['rounds'], r['gap'], r['sweeps'], r['bytes'])} by a rank forwards, at most" for r in task["recurrences"]]
        if not task["gap"] <= ALARM:
            lines.append(f"  Mind: the numbers of ranks differ from those of one process by {task['gap']:.0e}")
    lines += ["", "Predicted, forwards, of the recurrence alone", *(f"  {name}: {way['text']}" for name, way in data["predicted"].items())] if data["predicted"] else []
    return "\n".join(lines) + "\n"
