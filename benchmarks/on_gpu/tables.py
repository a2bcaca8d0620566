"""What was measured, as tables for people."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from on_gpu.record import Row
from rnndsl.tools.bench.report import aligned, bytes_text, percent_text, seconds_text, times_text

FAR = 1e-3  # a gap to the first candidate's numbers that a reader should know of
Column = tuple[str, Callable[[Row], str]]


def table(group: str, rows: list[Row], has_times: bool = True) -> str:
    """The rows of a group, under its name; of `compile` a row a cell. Without times, of what is timed how far numbers are from the first's."""
    rows = _by_cell(rows) if group == "compile" else rows
    if not rows:
        return f"\n{group}: nothing was measured"
    if not has_times:
        rows = [r for r in rows if "bound" not in r.get("name", "")]
    lines = (_timed(rows) if has_times else _apart(rows)) if "name" in rows[0] else aligned([[group, *(c for c, _ in _columns(group, has_times)[1:]), ""], *_cells(rows, _columns(group, has_times))])
    return "\n".join(["", *lines])


def _by_cell(rows: list[Row]) -> list[Row]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["group"], row["cell"]), []).append(row)
    summed = []
    for (group, cell), kernels in found.items():
        seconds = sorted((row["seconds"], row["kernel"]) for row in kernels if row["seconds"] is not None)
        about = {"median": median(s for s, _ in seconds), "most": seconds[-1][0], "which": seconds[-1][1]} if seconds else {}
        summed.append({"group": group, "cell": cell, "kernels": len(kernels), "failed": len(kernels) - len(seconds), **about})
    return summed


def _cells(rows: Iterable[Row], columns: list[Column]) -> list[list[str]]:
    return [[*(text(row) for _, text in columns), ""] for row in rows]


def _timed(rows: list[Row]) -> list[str]:
    """A table a cell, scope and direction: a row a shape, a column a candidate, medians; then whose numbers are not those of the first."""
    tables: dict[str, dict[str, dict[str, Row]]] = {}
    for r in rows:
        what = f"{r['cell']}, {r['scope']}, {'forward' if r['direction'] == 'forward' else 'forward and backward'}"
        tables.setdefault(what, {}).setdefault(f"B = {r['B']}, T = {r['T']}, H = {r['H']}", {})[r["name"]] = r
    lines: list[str] = []
    for title, shapes in tables.items():
        names = list(dict.fromkeys(name for found in shapes.values() for name in found))
        chosen = ["of best"] if any("of_best" in r for found in shapes.values() for r in found.values()) else []
        head = [title, *names, *chosen, ""]
        lines += [*aligned([head, *([shape, *_medians(found, names), *([_chosen_of(found)] if chosen else []), ""] for shape, found in shapes.items())]), ""]
    far = [r for r in rows if r.get("gap") is not None and not r["gap"] <= FAR]
    return [*(lines if far else lines[:-1]), *(f"  {r['name']}, {r['cell']}, {r['direction']}, B = {r['B']}, T = {r['T']}: its numbers are apart by {r['gap']:.0e}" for r in far)]


def _apart(rows: list[Row]) -> list[str]:
    columns = [("", lambda r: f"{r['cell']}, {r['scope']}, {r['direction']}, {r['name']}"), ("gap", _of("gap", _exponent))]
    return aligned([[name for name, _ in columns] + [""], *_cells(rows, columns)])


def _medians(found: dict[str, Row], names: list[str]) -> list[str]:
    """Each with how many times ours it takes, as the model chooses."""
    ours = found.get("auto", {}).get("median")
    return [seconds_text(found[n]["median"]) + (f" ({times_text(found[n]['median'] / ours)})" if ours and n != "auto" else "") if n in found else "-" for n in names]


def _chosen_of(found: dict[str, Row]) -> str:
    """How many times the better of both schedules the model's choice takes."""
    return times_text(found.get("auto", {}).get("of_best"))


def _of(key: str, form: Callable[[Any], str] = str) -> Callable[[Row], str]:
    return lambda row: "-" if row.get(key) is None else form(row[key])


def _exponent(value: float) -> str:
    return f"{value:.1e}"


def _two(value: float) -> str:
    return f"{value:.2f}"


COLUMNS: dict[str, list[Column]] = {
    "compile": [
        ("", lambda r: f"{r['group']}, {r['cell']}"),
        ("kernels", _of("kernels")),
        ("failed", _of("failed")),
        ("seconds, median", _of("median", _two)),
        ("most", _of("most", _two)),
        ("which", _of("which")),
    ],
    "sanitizer": [("", lambda r: r["tool"]), ("ran", lambda r: f"{r['ran']} of {r['of']}"), ("errors", _of("errors")), ("last", _of("last"))],
    "bounds": [
        ("", lambda r: f"copy of {bytes_text(r['bytes'])}" if "bytes" in r else r["what"]),
        ("median", _of("median", seconds_text)),
        ("a second", lambda r: bytes_text(r["per_second"]) if "bytes" in r else f"{r['per_second']:.3g}"),
    ],
    "agreement": [
        ("", lambda r: f"{r['cell']}, {r['schedule']}, {r['dtype']}"),
        ("outputs", _of("outputs", _exponent)),
        ("gradients", _of("gradients", _exponent)),
        ("the reference's own", lambda r: " ".join(_exponent(v) for v in r.get("reference", ())) or "-"),
        ("right", lambda r: {True: "yes", False: "NO"}.get(r.get("right"), "-")),
    ],
    "functions": [
        ("", lambda r: f"{r['function']}, {r['dtype']}"),
        ("units in the last place", _of("units", lambda v: f"{v:.3g}")),
        ("and with a unit of the arguments", _of("mixed", lambda v: f"{v:.3g}")),
        ("off", _of("off", _exponent)),
        ("at", lambda r: ", ".join(f"{v:.4g}" for v in r["at"])),
        ("not finite, wrong", _of("not_finite_wrong")),
        ("what is assumed", lambda r: f"{r['assumed'][1]:g} {r['assumed'][0]}: {'holds' if r['holds'] else 'DOES NOT HOLD'}" if "assumed" in r else "-"),
    ],
    "cycles": [
        ("", lambda r: f"{r['cell']}, {r['direction']}, {r['ahead']} ahead"),
        ("a step", _of("seconds_a_step", lambda v: f"{1e9 * v:.0f} ns")),
        ("cycles", _of("cycles_a_step", lambda v: f"{v:.0f}")),
    ],
    "rounds": [
        ("", lambda r: f"{r['cell']}, spread {r['spread']:g}, chunks of {r['chunk']}, {r['form']}"),
        ("rounds", _of("rounds", _two)),
        ("most", _of("most_rounds")),
        ("alone", lambda r: percent_text(r["alone"] / max(1, r["chunks"]))),
        ("residual", _of("residual", _exponent)),
        ("gap", _of("gap", _exponent)),
    ],
    "model": [
        ("", lambda r: f"{r['cell']}, {r['direction']}, {r['channels']:,} channels, {r['steps']:,} steps"),
        ("best", lambda r: seconds_text(r["candidates"][0]["median"]) if r["candidates"] else "-"),
        ("chosen / best", lambda r: times_text(_chosen(r))),
        ("failed", lambda r: str(len(r["failed"]))),
        ("the best", lambda r: _cut(r["candidates"][0]) if r["candidates"] else "-"),
    ],
}  # fmt: skip


def _chosen(r: Row) -> float | None:
    """How many times the best the model's choice takes."""
    medians = [c["median"] for c in r["candidates"] if all(c[k] == v for k, v in r["chosen"].items())]
    return medians[0] / r["candidates"][0]["median"] if medians else None


def _cut(c: Row) -> str:
    kind = f"ahead {c['ahead']}" if c["schedule"] == "sequential" else f"{c['lanes']}x{c['lane_steps']}"
    return f"{c['schedule']}, {c['channels']} channels, {kind}, {c['warps']} warps"


TIMES = ("median", "seconds, median", "most", "a second", "a step", "cycles", "best", "chosen / best", "which", "the best")  # columns of `COLUMNS`


def _columns(group: str, has_times: bool) -> list[Column]:
    return [c for c in COLUMNS[group] if has_times or c[0] not in TIMES or group == "rounds"]


def ends(data: Row) -> str:
    """What is not in the tables."""
    lines = [f"  {e['group']}: {e['who']}{', ' * bool(e['who'])}{e['where']}: {e['error']}" for e in data["errors"]]
    left = [f"  {e['group']}, {e['what']}: {e['why']}" for e in data["left_out"]]
    found = ["", *_compiled(data)] if data.get("compiled") else []
    return "\n".join([*found, *(["", "Errors", *lines] if lines else []), *(["", "Left out", *left] if left else []), "", f"{data['seconds']} s"])


def _compiled(data: Row) -> list[str]:
    """Whether groups found what they launch in Triton's cache, and what the emulator saw of their launches."""
    lines = ["Kernels of ours, when first launched by a process"]
    for group, counts in data["compiled"].items():
        missed = [name.removeprefix("missed ") for name in counts if name.startswith("missed ")]
        if counts:
            lines.append(f"  {group}: {counts.get('hits', 0)} in the cache, {counts.get('misses', 0)} not{': ' * bool(missed)}{', '.join(missed[:8])}")
    seen = {g: c for g, c in data.get("launches", {}).items() if c}
    return [*lines, *(["", "Launches that were watched", *(f"  {g}: {c.get('launches', 0)}" for g, c in seen.items())] if seen else [])]
