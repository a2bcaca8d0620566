"""What was measured, as tables for people."""

from collections.abc import Callable, Iterable
from typing import Any

from on_gpu.record import Row
from rnndsl.tools.bench.report import aligned, bytes_text, percent_text, seconds_text, times_text

FAR = 1e-3  # a gap to the first candidate's numbers that a reader should know of
Column = tuple[str, Callable[[Row], str]]


def table(group: str, rows: list[Row]) -> str:
    """The rows of a group, under its name."""
    if not rows:
        return f"\n{group}: nothing was measured"
    lines = _timed(rows) if "name" in rows[0] else aligned([[group, *(c for c, _ in COLUMNS[group][1:]), ""], *_cells(rows, COLUMNS[group])])
    return "\n".join(["", *lines])


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


def _medians(found: dict[str, Row], names: list[str]) -> list[str]:
    return [seconds_text(found[n]["median"]) if n in found else "-" for n in names]


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
    "bounds": [
        ("", lambda r: f"copy of {bytes_text(r['bytes'])}" if "bytes" in r else r["what"]),
        ("median", _of("median", seconds_text)),
        ("a second", lambda r: bytes_text(r["per_second"]) if "bytes" in r else f"{r['per_second']:.3g}"),
    ],
    "agreement": [
        ("", lambda r: f"{r['cell']}, {r['schedule']}, {r['dtype']}"),
        ("outputs", _of("outputs", _exponent)),
        ("gradients", _of("gradients", _exponent)),
    ],
    "functions": [
        ("", lambda r: f"{r['function']}, {r['dtype']}"),
        ("units in the last place", _of("units", lambda v: f"{v:.3g}")),
        ("and with a unit of the arguments", _of("mixed", lambda v: f"{v:.3g}")),
        ("at", lambda r: ", ".join(f"{v:.4g}" for v in r["at"])),
        ("not finite, wrong", _of("not_finite_wrong")),
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


def ends(data: Row) -> str:
    """What is not in the tables."""
    lines = [f"  {e['group']}: {e['who']}{', ' * bool(e['who'])}{e['where']}: {e['error']}" for e in data["errors"]]
    left = [f"  {e['group']}, {e['what']}: {e['why']}" for e in data["left_out"]]
    return "\n".join([*(["", "Errors", *lines] if lines else []), *(["", "Left out", *left] if left else []), "", f"{data['seconds']} s"])
