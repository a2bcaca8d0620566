"""Draws what `benchmarks/gpu.py` measured: time against T, and against the channels of all sequences together, each cell a row of panels.

    python benchmarks/pictures.py benchmarks/results/gpu-….json              writes .svg files beside it
    python benchmarks/pictures.py FILE… --out DIR --format png

A picture shows one scope and direction. Its lines are our schedules, other people's layers, and what the device could do at best: a copy of as many
bytes, and the special functions alone. Several files of one machine are drawn into the same pictures. Needs matplotlib (pip install "rnndsl[plot]").
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rnndsl.tools.bench.picture import seconds_over  # noqa: E402
from rnndsl.tools.colours import BLUE, GREY, INK, PAPER, RED  # noqa: E402

Row = dict[str, Any]
AXES = {"T": ("T", "channels", "steps"), "channels": ("channels", "T", "channels of all sequences together")}  # varied, fixed, label
COLUMNS = 3  # panels of a cell: the smallest, a middle and the largest value of what is fixed
CHOSEN = "auto"  # what the model takes of our schedules
_OURS = {"sequential": BLUE, "newton": "#1f8a70", "exact scan": "#1f8a70", CHOSEN: "#6b4fbb"}
_LOOPS = {"loop": INK, "compile": "#b7791f"}
_BOUNDS = {"bound: bytes": (0, (5, 2)), "bound: special functions": (0, (1, 1.5))}
_PEERS = (RED, "#a23b72", "#d2691e", "#8a6d3b", "#708238")


def read(paths: list[Path]) -> tuple[str, list[Row]]:
    """The GPU and versions in words, and everything that was timed at a shape, once: what stands first counts.

    Raises ValueError for a file that `gpu.py` has not written, and for files of several machines; OSError.
    """
    titles: list[str] = []
    found: dict[tuple, Row] = {}
    for path in paths:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            m = data["machine"]
            titles.append(f"{m['gpu'] or m['processor']}, torch {m['torch']}, triton {m['triton']}, rnndsl {m['rnndsl']}")
            for r in (r for g in ("times", "layer", "compiled") for r in data["groups"].get(g, [])):
                found.setdefault(tuple(r[k] for k in ("cell", "scope", "direction", "channels", "T", "name")), r)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path} is not a file that benchmarks/gpu.py has written") from None
    if len(set(titles)) > 1:
        raise ValueError(f"the files are of several machines: {'; '.join(dict.fromkeys(titles))}")
    return titles[0], list(found.values())


def pictures(title: str, rows: list[Row], folder: Path, stem: str, form: str) -> list[Path]:
    """Writes a picture for each scope, direction and axis of which there are two values; returns the files."""
    written = []
    for scope, direction in dict.fromkeys((r["scope"], r["direction"]) for r in rows):
        some = [r for r in rows if (r["scope"], r["direction"]) == (scope, direction)]
        for axis in AXES:
            if panels := panels_of(some, axis):
                path = folder / f"{stem}-{scope}-{direction}-over-{axis}.{form}"
                draw(panels, f"{scope}, {'forward' if direction == 'forward' else 'forward and backward'}, float32\n{title}", axis, path)
                written.append(path)
    return written


def panels_of(rows: list[Row], axis: str) -> dict[str, dict[int, list[Row]]]:
    """For each cell, for some values of what is fixed, the rows of a panel: those that vary along the axis."""
    varied, fixed, _ = AXES[axis]
    found: dict[str, dict[int, list[Row]]] = {}
    for cell in dict.fromkeys(r["cell"] for r in rows):
        at: dict[int, list[Row]] = {}
        for r in rows:
            if r["cell"] == cell:
                at.setdefault(r[fixed], []).append(r)
        able = sorted(v for v, some in at.items() if len({r[varied] for r in some}) > 1)
        if able:
            found[cell] = {v: at[v] for v in dict.fromkeys([able[0], able[len(able) // 2], able[-1]])}
    return found


def draw(panels: dict[str, dict[int, list[Row]]], title: str, axis: str, path: Path) -> None:
    """One picture: a row a cell, a panel a value of what is fixed, a line a candidate; both axes logarithmic."""
    from matplotlib.figure import Figure

    varied, fixed, label = AXES[axis]
    down, across = len(panels), max(len(p) for p in panels.values())
    figure = Figure(figsize=(4.2 * across + 2.2, 3.1 * down + 0.9), dpi=160, facecolor=PAPER)
    grid = figure.subplots(down, across, squeeze=False)
    peers = {r["name"] for p in panels.values() for some in p.values() for r in some} - {*_OURS, *_LOOPS, *_BOUNDS}
    colours = {**_OURS, **_LOOPS, **dict.fromkeys(_BOUNDS, GREY), **dict(zip(sorted(peers), _PEERS * len(peers), strict=False))}
    for cells, (cell, values) in zip(grid, panels.items(), strict=True):
        for axes in cells[len(values) :]:
            axes.axis("off")
        for axes, (value, rows) in zip(cells, values.items(), strict=False):
            _lines(axes, rows, varied, colours)
            axes.set_title(f"{cell}, {value:,} {'channels' if fixed == 'channels' else 'steps'}", fontsize=9, color=INK, loc="left")
            axes.set_xlabel(label, fontsize=8, color=INK)
    handles = {h.get_label(): h for axes in grid.flat for h in axes.get_lines()}
    names = [n for n in colours if n in handles]
    figure.legend([handles[n] for n in names], names, loc="center right", frameon=False, fontsize=8, labelcolor=INK)
    figure.suptitle(title, fontsize=9, color=INK, x=0.02, ha="left", y=0.99)
    figure.tight_layout(rect=(0, 0, 1 - 2.1 / (4.2 * across + 2.2), 1 - 0.1 / (3.1 * down + 0.9)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _lines(axes: Any, rows: list[Row], varied: str, colours: dict[str, str]) -> None:
    for name, colour in colours.items():
        points = sorted((r[varied], r["median"]) for r in rows if r["name"] == name)
        if points and name == CHOSEN and any(r["name"] in _OURS and r["name"] != CHOSEN for r in rows):  # rings around the points of the schedule that was chosen
            axes.plot(*zip(*points, strict=True), label=name, color=colour, linestyle="", marker="o", markersize=8, fillstyle="none", zorder=4)
        elif points:
            ours = name in _OURS
            axes.plot(
                *zip(*points, strict=True), label=name, color=colour, linewidth=2.0 if ours else 1.3, linestyle=_BOUNDS.get(name, "-"),
                marker=None if name in _BOUNDS else "o", markersize=3, zorder=3 if ours else 2,
            )  # fmt: skip
    seconds_over(axes, sorted({r[varied] for r in rows}), letters=7.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: beside the first file)")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    options = parser.parse_args()
    try:
        title, rows = read(options.files)
    except (OSError, ValueError) as e:
        print(f"pictures.py: {e}", file=sys.stderr)
        return 2
    written = pictures(title, rows, options.out or options.files[0].parent, options.files[0].stem, options.format)
    print("\n".join(f"wrote {p}" for p in written) or "nothing was measured at two values; there is no line to draw")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
