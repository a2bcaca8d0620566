"""A benchmark as a table for a terminal."""

from typing import Any

from rnndsl.tools.bench.bound import LARGE
from rnndsl.tools.bench.run import COPY, Entry, Group, Point, Result, describe

_BUSY = 0.3  # cores from which other programs are worth a warning
ALARM = 1e-3  # a gap to the loop's numbers that a reader should know of


def table(result: Result) -> str:
    """The whole page: where it ran, a table a task, and who was left out."""
    lines = [*heading(result), *busy_text(result.machine)]
    if result.over is not None:
        lines += _sweep(result)
    else:
        lines += [line for p in result.points for g in p.groups for line in _group(g, result)]
    lines += _absent(result)
    if result.interrupted:
        lines += ["", "Interrupted: this is what was measured until then."]
    return "\n".join(lines) + "\n"


def heading(result: Result) -> list[str]:
    """The cell and the machine."""
    m = result.machine
    first = result.points[0] if result.points else None
    what = f"{result.cell} ({result.program}), {result.dtype}"
    if first is not None:
        what += f", {_shape(first, result.over[0] if result.over else None)}"
    return [what, machine_text(m)]


def machine_text(m: dict[str, Any]) -> str:
    """The machine and versions."""
    threads = f"{m['threads']} thread{'s' * (m['threads'] != 1)}"
    return f"{m['processor']}, {m['cores']} cores, {threads}; torch {m['torch']}, rnndsl {m['rnndsl']}"


def busy_text(m: dict[str, Any]) -> list[str]:
    """A warning where other programs were running."""
    busy, cores = m["busy"], m["cores"]
    if busy is None or busy < _BUSY:
        return []
    return [f"Mind: other programs kept {busy:.1f} of {cores} cores busy as this began; the figures are worth less."]


def _shape(point: Point, over: str | None) -> str:
    """The shape of a call and the sizes, without the one that is varied."""
    many = f"{point.batch} sequence{'s' * (point.batch != 1)}" if over != "B" else "sequences"
    call = many if over == "T" else f"{many} of {point.steps} step{'s' * (point.steps != 1)}"
    return ", ".join([call, *(f"{n} = {v}" for n, v in point.sizes.items() if n != over or n in ("B", "T"))])


def _sweep(result: Result) -> list[str]:
    """A table a task: a row a candidate, a column a value of what is varied; medians, and how many times faster than the loop."""
    assert result.over is not None
    lines: list[str] = []
    for title, groups in result.series().items():
        names = list(dict.fromkeys(e.name for g in groups.values() for e in g.measured()))
        if names:
            head = [title[:1].upper() + title[1:], *(f"{result.over[0]} = {at}" for at in groups), ""]
            lines += ["", *aligned([head, *([n, *(_swept(g, n) for g in groups.values()), ""] for n in sorted(names, key=lambda n: n == COPY))])]
    return lines


def _swept(group: Group, name: str) -> str:
    entry = group.entries.get(name)
    if entry is None or not entry.timing.seconds:
        return "-"
    ratio = "bound" if name == COPY else times_text(group.ratio(entry))
    return f"{seconds_text(entry.timing.median)} {ratio:>6}"


def _group(group: Group, result: Result) -> list[str]:
    entries = group.measured()
    if not entries:
        return []
    bounded = COPY in group.entries
    columns = ["median", "quartiles", "against loop", *(["of the bound"] if bounded else [])]
    rows = [[e.name, *_numbers(group, e, bounded), _note(e)] for e in entries if e.name != COPY]
    title = describe(group.task)
    head = [title[:1].upper() + title[1:], *columns, ""]
    lines = ["", *aligned([head, *rows])]
    if bounded and (copy := group.entries[COPY]).timing.seconds:
        lines.append(_bound(group, copy, result))
    return lines


def _numbers(group: Group, e: Entry, bounded: bool) -> list[str]:
    low, high = e.timing.quartiles
    found = [seconds_text(e.timing.median), f"{seconds_text(low)} to {seconds_text(high)}", times_text(group.ratio(e))]
    return [*found, percent_text(group.of_bound(e))] if bounded else found


def _note(e: Entry) -> str:
    parts = [e.note] if e.note else []
    if e.gap is not None and not e.gap <= ALARM:
        parts.append(f"its numbers differ from the loop's by {e.gap:.0e}")
    return "; ".join(parts)


def _bound(group: Group, copy: Entry, result: Result) -> str:
    assert group.moved is not None
    text = f"  bound: {seconds_text(copy.timing.median)}, {bytes_text(group.moved)} at "
    text += f"{bytes_text(group.moved / copy.timing.median)}/s, which a copy of that size reaches"
    if result.memory.seconds:
        text += f" ({bytes_text(2 * (LARGE // 2) / result.memory.median)}/s where no cache helps)"
    return text


def aligned(rows: list[list[str]]) -> list[str]:
    """The first and the last column to the left, the others to the right."""
    rows = [rows[0], *([f"  {row[0]}", *row[1:]] for row in rows[1:])]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        name = row[0].ljust(widths[0])
        cells = [c.rjust(w) for c, w in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([name, *cells, row[-1]]).rstrip())
    return lines


def _absent(result: Result) -> list[str]:
    """Who was not measured, once for each reason."""
    where: dict[tuple[str, str], list[str]] = {}
    groups = [g for p in result.points for g in p.groups]
    for g in groups:
        for name, reason in g.absent.items():
            found = where.setdefault((name, reason), [])
            if describe(g.task) not in found:
                found.append(describe(g.task))
    tasks = {describe(g.task) for g in groups}
    lines = []
    for (name, reason), found in where.items():
        lines.append(f"  {name}: {reason}" if set(found) == tasks else f"  {name} ({'; '.join(found)}): {reason}")
    return ["", "Not measured", *lines] if lines else []


def seconds_text(seconds: float) -> str:
    """Three digits and a unit: `553 µs`."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * factor:
            return f"{_three(seconds / factor)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def bytes_text(count: float) -> str:
    """Three digits and a unit, powers of ten: `12.6 MB`."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * factor:
            return f"{_three(count / factor)} {unit}"
    return f"{count:.0f} B"


def times_text(ratio: float | None) -> str:
    """`41x`; `0.52x`; a dash where there is nothing to compare with."""
    return "-" if ratio is None else f"{_two(ratio)}x"


def percent_text(fraction: float | None) -> str:
    return "-" if fraction is None else f"{_two(100 * fraction)} %"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _two(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def data(result: Result) -> dict[str, Any]:
    """Everything raw, as `--json` prints it. Seconds are of one call."""
    return {
        "version": 1,
        "program": result.program,
        "cell": result.cell,
        "dtype": result.dtype,
        "machine": result.machine,
        "memory_copy": {"bytes_moved": 2 * (LARGE // 2), **timing_data(result.memory)} if result.memory.seconds else None,
        "over": result.over[0] if result.over else None,
        "points": [_point_data(p) for p in result.points],
        "interrupted": result.interrupted,
    }


def _point_data(p: Point) -> dict[str, Any]:
    return {"B": p.batch, "T": p.steps, "sizes": p.sizes, "tasks": [_group_data(g) for g in p.groups]}


def _group_data(g: Group) -> dict[str, Any]:
    return {
        "scope": g.task.scope,
        "direction": g.task.direction,
        "B": g.task.batch,
        "bytes_moved": g.moved,
        "candidates": [
            {
                "name": e.name,
                "ours": e.ours,
                "note": e.note,
                "gap": e.gap,
                "times_faster_than_loop": g.ratio(e),
                "of_bound": g.of_bound(e),
                **timing_data(e.timing),
            }
            for e in g.measured()
        ],
        "absent": g.absent,
    }


def timing_data(t: Any) -> dict[str, Any]:
    """What was measured of one call, raw."""
    return {"calls_a_sample": t.calls, "median": t.median, "quartiles": list(t.quartiles), "seconds": t.seconds}
