"""Writes the tables that the model of devices counts with, from a file of counts or of measurements.

    python benchmarks/fit.py FILE     of cycles.py: what kernels take, into the table of each architecture that the file has
                                      of gpu.py: what was measured, into a table of that GPU, which goes before that of its architecture

Tables are files of rnndsl/devices; every entry that is written says FILE, and how. What the file does not tell stays as it is.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rnndsl.devices import ENTRIES, FOLDER, Device, Table, of_gpu, read, tables  # noqa: E402
from rnndsl.tiles import PARALLEL, SEQUENTIAL, WARP, Tiles, Work, choose, columns_of, combined, cycles, step_cycles  # noqa: E402

Entries = dict[str, tuple[Any, str]]
Row = dict[str, Any]
_PARALLEL = ("round", "chunk")


# Counts of machine code


def of_counts(rows: Sequence[Row], file: str) -> Entries:
    """What the kernels of an architecture take."""
    found: Entries = {}
    steps = [r for r in rows if r["part"] == "step" and r["ahead"] > 1]
    for kind, backward in (("forward", False), ("backward", True)):
        own = [r for r in steps if r["kernel"] == kind]
        counts = [_counted(r["functions"]["pullback" if backward else "step"], _columns(r, backward)) for r in own]
        for entry, column in (("cycles", "computing"), ("instructions", "instructions")):
            found[f"{kind}_{entry}"] = _fitted(counts, [r[column] for r in own], file)
        counts = [[*c[:3], c[3] * r["ahead"]] for c, r in zip(counts, own, strict=True)]
        found[f"{kind}_registers"] = _fitted(counts, [r["registers"] for r in own], file)
    found["overlap"] = _overlap(steps, file)
    return found | _of_parallel([r for r in rows if r["part"] in _PARALLEL], found, file)


def _of_parallel(rows: Sequence[Row], known: Entries, file: str) -> Entries:
    """Lanes, levels, crossings and chunks. A chunk is one round, its last steps, which are known, and what comes on top."""
    counts, values = [], []
    for r in rows:
        backward, is_chunk = _is_back(r), r["part"] == "chunk"
        lane, none = _in_lane(r)[:3], [0.0] * 3
        levels = (r["lanes"] - 1).bit_length() * combined(r["slots"])
        counts.append([*(none if backward else lane), *(lane if backward else none), levels, r["warps"] > 1, is_chunk])
        values.append(r["computing"] - is_chunk * _last(r, known, "cycles"))
    solved, error = _least(counts, values, [r["computing"] for r in rows])
    said = f"machine code: {file}, {len(rows)} loops, {error:.0%} off at the median"
    found: Entries = {"lane_cycles": ([*solved[:3], 0], said), "lane_back_cycles": ([*solved[3:6], 0], said)}
    found |= {name: (v, said) for name, v in zip(("level", "crossing", "chunk"), solved[6:], strict=True)}
    for name, backward in (("lane", False), ("lane_back", True)):
        own = [r for r in rows if _is_back(r) == backward and r["part"] == "chunk"]
        columns = [r["lane_steps"] * _columns(r, backward) for r in own]
        counts = [_counted(r["functions"][_first(r)], c) for r, c in zip(own, columns, strict=True)]
        found[f"{name}_registers"] = _fitted(counts, [r["registers"] for r in own], file)
        values = [r["instructions"] - _last(r, known, "instructions") for r in own]
        found[f"{name}_instructions"] = _fitted([_in_lane(r) for r in own], values, file)
    return found


def _is_back(row: Row) -> bool:
    return row["kernel"].endswith("backward")


def _in_lane(row: Row) -> list[float]:
    """What a lane computes in a round."""
    operations, special = row["functions"][_first(row)]
    return _counted((row["lane_steps"] * operations, row["lane_steps"] * special), 0)


def _last(row: Row, known: Entries, what: str) -> float:
    """What the last steps of a chunk take."""
    kind, function = ("backward", "pullback") if _is_back(row) else ("forward", "step")
    last = _counted(row["functions"][function], _columns(row, _is_back(row)))
    return row["lane_steps"] * sum(a * b for a, b in zip(known[f"{kind}_{what}"][0], last, strict=True))


def _first(row: Row) -> str:
    """The function that a lane runs in a round."""
    return next(n for n in (("slopes", "pullback") if _is_back(row) else ("linear", "coefficients", "step")) if n in row["functions"])


def _columns(row: Row, backward: bool) -> int:
    return columns_of(row["streams"], row["slots"], backward)


def _counted(counted: Sequence[float], columns: float) -> list[float]:
    operations, special = counted
    return [1.0, operations - special, special, columns]


def _overlap(rows: Sequence[Row], file: str) -> tuple[float, str]:
    """The part of the shorter of computing and waiting that comes on top of the longer, at the median."""
    found = []
    for r in rows:
        alone = r["memory"] / r["ahead"]
        found.append((r["waiting"] - max(r["computing"], alone)) / min(r["computing"], alone))
    return _round(min(1.0, max(0.0, median(found)))), f"machine code: {file}, {len(rows)} loops, the median"


def _fitted(counts: Sequence[Sequence[float]], values: Sequence[float], file: str) -> tuple[list[float], str]:
    solved, error = _least(counts, values, values)
    return solved, f"machine code: {file}, {len(values)} loops, {error:.0%} off at the median"


def _least(counts: Sequence[Sequence[float]], values: Sequence[float], of: Sequence[float]) -> tuple[list[float], float]:
    """Numbers of 0 or more whose products with the counts come nearest to the values, relative to `of`; and how far off they are at the median.
    What would be negative is left out, the worst first."""
    weight = 1 / torch.tensor(of, dtype=torch.float64)
    a, b = torch.tensor(counts, dtype=torch.float64) * weight[:, None], torch.tensor(values, dtype=torch.float64) * weight
    kept = [i for i in range(a.shape[1]) if bool(a[:, i].any())]
    solved = torch.zeros(a.shape[1], dtype=torch.float64)
    while kept:
        part = torch.linalg.lstsq(a[:, kept], b[:, None], driver="gelsd").solution[:, 0]
        if float(part.min()) >= 0:
            solved[kept] = part
            break
        kept.pop(int(part.argmin()))
    return [_round(v) for v in solved.tolist()], float((a @ solved - b).abs().median())


# Measurements


def of_measurements(data: Row, works: Callable[[str], Work], device: Device, file: str) -> Entries:
    """What a results file of gpu.py tells of its GPU. works: what the model knows of a cell's recurrence, by the cell's name."""
    groups, found = data["groups"], {}

    def measured(name: str, value: float, how: str) -> None:
        found[name] = (_round(value), f"measured: {file}, {how}")

    bounds = groups.get("bounds", [])
    if copies := [r["per_second"] for r in bounds if r["what"] == "copy"]:
        measured("bandwidth", max(copies), "the fastest copy")
        measured("reach", 1.0, "the bandwidth is that of a copy")
    if clocks := [r["per_second"] for r in bounds if r["what"] == "clock"]:
        measured("clock", max(clocks), "a kernel that counts cycles")
    device = _with(device, found)
    if rows := [r for r in groups.get("cycles", []) if r.get("cycles_a_step")]:
        latency = min(range(100, 2001, 10), key=lambda n: _spread(rows, works, replace(device, memory_latency=float(n))))
        measured("memory_latency", latency, f"cycles a step of {len(rows)} calls at several steps ahead")
        device = _with(device, found)
        for name, direction in (("sequential_pace", "forward"), ("sequential_back_pace", "backward")):
            if own := [p for r, p in zip(rows, _paces(rows, works, device), strict=True) if r["direction"] == direction]:
                measured(name, median(own), f"cycles a step of {len(own)} calls")
        device = _with(device, found)
    common = [r["rounds"] for r in groups.get("rounds", []) if r["form"] == "shooting" and r["chunk"] == 128 and 0.5 <= r["spread"] <= 2]
    if common:
        measured("rounds", median(common), f"chunks of 128 steps at {len(common)} weights")
        device = _with(device, found)
    for name, backward in (("parallel_pace", False), ("parallel_back_pace", True)):
        if own := list(_parallel_paces(groups, works, device, backward)):
            measured(name, median(own), f"{len(own)} calls")
    return found


def _with(device: Device, found: Entries) -> Device:
    return replace(device, **{n: v for n, (v, _) in found.items()}, sources={**device.sources, **{n: s for n, (_, s) in found.items()}})


def _paces(rows: Sequence[Row], works: Callable[[str], Work], device: Device) -> list[float]:
    """How many times longer steps took than the model says."""
    unit = replace(device, sequential_pace=1.0, sequential_back_pace=1.0)
    cut = [Tiles(SEQUENTIAL, WARP, ahead=r["ahead"]) for r in rows]
    return [r["cycles_a_step"] / step_cycles(works(r["cell"]), t, unit, r["direction"] == "backward") for r, t in zip(rows, cut, strict=True)]


def _spread(rows: Sequence[Row], works: Callable[[str], Work], device: Device) -> float:
    """How much paces differ, each direction apart."""
    total = 0.0
    for direction in ("forward", "backward"):
        own = [r for r in rows if r["direction"] == direction]
        logs = [math.log(p) for p in _paces(own, works, device)]
        total += sum(abs(v - median(logs)) for v in logs)
    return total


def _parallel_paces(groups: dict[str, list[Row]], works: Callable[[str], Work], device: Device, backward: bool) -> Iterator[float]:
    """How many times longer parallel kernels took than the model says, where it sees them bound by their chunks: those of the group `model`, whose
    tiles are known; forwards also those of `times`, by the tiles that the model takes."""
    unit = replace(device, parallel_pace=1.0, parallel_back_pace=1.0)
    slow = replace(device, parallel_pace=2.0, parallel_back_pace=2.0)

    def pace(work: Work, tiles: Tiles, channels: int, steps: int, seconds: float) -> Iterator[float]:
        one, two = (cycles(work, tiles, channels, steps, d, backward) for d in (unit, slow))
        if two >= 1.99 * one:
            yield seconds * device.clock / one

    for row in groups.get("model", []):
        work = works(row.get("cell") or row["label"].split(".")[0])
        for c in row["candidates"] if (row["direction"] == "backward") == backward else []:
            if c["schedule"] == PARALLEL and not c["dropped"]:
                tiles = Tiles(PARALLEL, c["channels"], lanes=c["lanes"], lane_steps=c["lane_steps"], warps=c["warps"])
                yield from pace(work, tiles, row["channels"], row["steps"], c["median"])
    for row in groups.get("times", []) if not backward else []:
        if row["direction"] == "forward" and row["name"] in ("newton", "exact scan"):
            work = works(row["cell"])
            yield from pace(work, choose(work, row["channels"], row["T"], unit, "newton"), row["channels"], row["T"], row["median"])


# Files


def written(table: Table, comments: str) -> str:
    """A table as a file."""
    lines = [comments + f"title = {json.dumps(table.title)}"]
    lines += [f"{name} = {json.dumps(list(v))}" for name, v in (("architectures", table.architectures), ("gpus", table.gpus)) if v]
    lines += [f"continues = {json.dumps(table.continues)}"] if table.gpus else []
    entries = [f"{n} = [{_number(table.entries[n][0])}, {json.dumps(table.entries[n][1], ensure_ascii=False)}]" for n in ENTRIES if n in table.entries]
    return "\n".join([*lines, "", "[entries]", *entries]) + "\n"


def _number(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_number(v) for v in value)}]"
    return f"{value:.4g}" if abs(value) >= 1e6 else f"{value:g}"


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def update(path: Path, entries: Entries, new: Table | None = None) -> None:
    """Puts entries into the table of a file; `new` is what is put into a file that is not there yet."""
    table = read(path) if path.exists() else new
    assert table is not None, f"there is no table {path}"
    comments = "".join(re.findall(r"\A(?:#.*\n|\n)*", path.read_text(encoding="utf-8"))[:1]) if path.exists() else ""
    path.write_text(written(replace(table, entries={**table.entries, **entries}), comments), encoding="utf-8")


def fit(file: Path, folder: Path = FOLDER) -> list[Path]:
    """Writes the tables that a file has something for; returns their files. Raises ValueError for a file of another kind."""
    data = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(data, list) and data and "computing" in data[0]:
        paths = []
        for target in sorted({r["target"] for r in data}):
            paths.append(folder / f"{target}.toml")
            update(paths[-1], of_counts([r for r in data if r["target"] == target], file.name))
        return paths
    if not isinstance(data, dict) or "groups" not in data or not data.get("machine", {}).get("gpu"):
        raise ValueError(f"{file}: neither counts of cycles.py nor measurements of gpu.py on a GPU")
    name = data["machine"]["gpu"]
    capability = data["machine"].get("capability")
    architecture = f"sm_{capability.replace('.', '')}" if capability else ""
    device = of_gpu(name, architecture)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.toml"
    base = next((t.name for t in tables().values() if t.title == device.table and t.name != path.stem), "general")
    title = f"{name}, measured"
    update(path, of_measurements(data, _works(), device, file.name), Table(path.stem, title, (), (name,), base, {}))
    return [path]


def _works() -> Callable[[str], Work]:
    """What the model knows of the cells that gpu.py measures."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from ahead import channels_of
    from on_gpu.cells import DIAGONAL

    known = {}
    for case in DIAGONAL:
        ((_, kernels),) = channels_of(case.program)
        known[case.cell.name] = known[case.name] = kernels.costs
    return known.__getitem__


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="of cycles.py --json, or of gpu.py")
    try:
        for path in fit(parser.parse_args().file):
            print(f"wrote {path}")
    except (OSError, ValueError) as e:
        print(f"fit.py: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
