"""Writes the tables of docs/benchmarks.md from benchmarks/results/*.json, those of docs/what_cells_learn.md from benchmarks/results/explore/*.json, and
those of docs/gpu_kernels.md from benchmarks/counts/*.json, so that no figure stands there that was not measured.

    python benchmarks/tables.py                     writes what is between the markers of the pages anew
"""

import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rnndsl.explore import wording  # noqa: E402
from rnndsl.explore.board import Column, Entry, board_of  # noqa: E402
from rnndsl.tools.bench.report import percent_text, seconds_text, times_text  # noqa: E402

PAGE, RESULTS = ROOT / "docs" / "benchmarks.md", ROOT / "benchmarks" / "results"
MACHINE_CODE, COUNTS = ROOT / "docs" / "gpu_kernels.md", ROOT / "benchmarks" / "counts"
LEARNED, STUDIES = ROOT / "docs" / "what_cells_learn.md", RESULTS / "explore"
TARGETS = ("sm_80", "sm_90", "gfx942")
_WHOLE, _ROWS = ("forward", "backward", "step"), ("advance", "look", "linear", "pull", "gradients", "scan", "scan-back")  # kinds of kernels
_KINDS = (*_WHOLE, *_ROWS)
_TABLE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
_SCOPES = {"recurrence": "recurrence", "layer": "layer", "step": "one step"}
_DIRECTIONS = {"forward": "forward", "both": "forward and backward"}
_OTHERS = {"loop": "PyTorch loop", "nn": "torch.nn", "pararnn": "pararnn-torch", "nn.GRUCell": "torch.nn.GRUCell", "nn.LSTMCell": "torch.nn.LSTMCell"}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def machine(found: dict[str, Any]) -> str:
    """What it was measured on, in a line."""
    parts = [f"{found['processor']}, {found['cores']} cores, {found['threads']} threads", found["system"], f"Python {found['python']}"]
    return ", ".join([*parts, f"PyTorch {found['torch']}", f"rnndsl {found['rnndsl']}"])


def kernels(data: dict[str, Any]) -> str:
    """Medians of a run of benchmarks/cpu.py, a table for each cell and size; in brackets how many times longer than ours."""
    dtypes = sorted({c["dtype"] for c in data["cases"].values()})
    parts = [f"{machine(data['machine'])}; {', '.join(dtypes)}."]
    faster: list[str] = []
    for case in data["cases"].values():
        for point in case["points"]:
            sizes = ", ".join(f"{k} = {v}" for k, v in {"B": point["B"], "T": point["T"], **point["sizes"]}.items())
            parts += [f"**{case['cell']}**, {sizes}", _tasks(point["tasks"])]
            faster += [f"{n} ({case['cell']}, {sizes}; {_task(t)})" for t in point["tasks"] for n in _faster(t)]
    parts.append(f"Faster than rnndsl: {', '.join(faster) or 'none of them'}.")
    return "\n\n".join(parts)


def schedules(data: dict[str, Any]) -> str:
    """Medians of a run of benchmarks/cpu.py --parallel; in brackets how many times faster than the loop."""
    rows = []
    for case in data["cases"].values():
        for point in case["points"]:
            sizes = ", ".join(f"{k} = {v}" for k, v in {"B": point["B"], "T": point["T"], **point["sizes"]}.items() if k != "D")
            for task in point["tasks"]:
                by_name = {e["name"]: e for e in task["candidates"]}
                parallel = next((n for n in by_name if n.startswith("torch ")), None)
                row = [f"{case['cell']}, {sizes}", _DIRECTIONS[task["direction"]], seconds_text(by_name["loop"]["median"])]
                row += [_faster_than(by_name, "cpu"), _faster_than(by_name, "cpu newton"), f"{parallel.removeprefix('torch ')}: {_faster_than(by_name, parallel)}" if parallel else ""]
                rows.append(row)
    head = ["cell", "task", "PyTorch loop", "C++, step by step", "newton in C++", "parallel, in PyTorch's operations"]
    return f"{machine(data['machine'])}; layers, float32.\n\n{table(head, rows)}"


def _faster_than(by_name: dict[str, Any], name: str) -> str:
    return f"{seconds_text(by_name[name]['median'])} ({times_text(by_name['loop']['median'] / by_name[name]['median'])})" if name in by_name else ""


def _tasks(tasks: list[dict[str, Any]]) -> str:
    others = [n for n in _OTHERS if any(e["name"] == n for t in tasks for e in t["candidates"])]
    bounded = any(t["bytes_moved"] is not None for t in tasks)
    rows = []
    for task in tasks:
        by_name = {e["name"]: e for e in task["candidates"]}
        ours = next(e for e in task["candidates"] if e["ours"])
        low, high = ours["quartiles"]
        row = [_task(task)]
        row += [f"**{seconds_text(ours['median'])}** ({seconds_text(low)} to {seconds_text(high)})"]
        row += [_against(by_name[n]["median"], ours["median"]) if n in by_name else "" for n in others]
        row += ["" if ours["of_bound"] is None else percent_text(ours["of_bound"])] if bounded else []
        rows.append(row)
    return table(["task", "rnndsl", *(_OTHERS[n] for n in others), *(["of the bound"] if bounded else [])], rows)


def _task(task: dict[str, Any]) -> str:
    return f"{_SCOPES[task['scope']]}, {_DIRECTIONS[task['direction']]}"


def _faster(task: dict[str, Any]) -> list[str]:
    """Who takes less time than ours for a task."""
    ours = next(e for e in task["candidates"] if e["ours"])
    return [_OTHERS[e["name"]] for e in task["candidates"] if e["name"] in _OTHERS and e["median"] < ours["median"]]


def _against(theirs: float, ours: float) -> str:
    return f"{seconds_text(theirs)} ({times_text(theirs / ours)})"


def compiler(data: dict[str, Any]) -> str:
    """Times of the compiler itself, from a run of benchmarks/speed.py."""
    found = data["machine"]
    rows = [[f"`rnndsl {name}`, a process", seconds_text(t["median wall"]), seconds_text(t["best wall"])] for name, t in data["process_seconds"].items()]
    cells = [[n, seconds_text(t["parse"]), seconds_text(t["parse and check"])] for n, t in data["seconds_by_cells"].items()]
    return "\n\n".join([
        f"{found['processor']}, {found['cores']} cores, Python {found['python']}.",
        table(["a cell of twelve lines", "median", "best"], rows),
        table(["cells in one file", "parse", "parse and check"], cells),
    ])  # fmt: skip


def machine_code(data: dict[str, Any]) -> str:
    """What kernels need, before and after, read from their machine code: those of the examples one by one, all of them in sums."""
    kernels = [k for k in data["kernels"] if "after" in k]
    found = {id(k): [dict(zip(data["columns"], k[when], strict=True)) for when in ("before", "after")] for k in kernels}
    shown = ("instructions", "registers", "barriers", "special", "shuffles")
    rows = [
        [k["target"], f"`{k['recurrence']}`", k["kernel"], *(_change(*(needs[c] for needs in found[id(k)])) for c in shown)]
        for k in kernels if k["file"].startswith("examples/")
    ]  # fmt: skip
    sums = []
    for target, kind in sorted({(k["target"], "parallel" if "parallel" in k["kernel"] else "sequential") for k in kernels}):
        both = [found[id(k)] for k in kernels if k["target"] == target and ("parallel" in k["kernel"]) == (kind == "parallel")]
        seconds = [after["seconds"] for _, after in both]
        row = [target, kind, str(len(both)), *(_change(*(sum(needs[i][c] for needs in both) for i in (0, 1))) for c in ("instructions", "registers"))]
        row += [_change(*(sum(needs[i]["spills"] > 0 for needs in both) for i in (0, 1)))]
        sums.append([*row, f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s"])
    return "\n\n".join([
        f"Triton {data['triton']}, float32, the first tiles that the model looks at; before: commit {data['before']}. → stands between what changed.",
        table(["target", "schedule", "kernels", "instructions", "registers", "that spill", "to compile, median", "at most"], sums),
        "The examples:",
        table(["target", "recurrence", "kernel", *shown], rows),
    ])  # fmt: skip


def tiles(data: dict[str, Any]) -> str:
    """What kernels of whole steps, of single ones, and over rows need: all of them in sums, the first of the examples one by one, and those that spill."""
    kernels = [k | {"kind": re.sub(r"^part \d+ ", "", k["kernel"]).split()[0]} | dict(zip(data["columns"], k["needs"], strict=True)) for k in data["kernels"]]
    places = sorted({(k["target"], k["kind"]) for k in kernels}, key=lambda p: (p[0], _KINDS.index(p[1])))
    sums = []
    for target, kind in places:
        found = [k for k in kernels if (k["target"], k["kind"]) == (target, kind)]
        row = [target, kind, str(len(found))]
        for column in ("registers", "shared", "barriers", "instructions"):
            values = [k[column] for k in found]
            row.append(f"{statistics.median(values):.0f}, {max(values)}")
        sums.append([*row, str(sum(k["spills"] > 0 for k in found)), f"{statistics.median(k['seconds'] for k in found):.1f} s"])
    examples = sorted({(k["recurrence"], k["kernel"]) for k in kernels if k["file"].startswith("examples/") and k["kind"] in _WHOLE}, key=lambda p: (p[0].split(".")[0], _KINDS.index(p[1])))
    rows = []
    for recurrence, kind in examples:
        by_target = {k["target"]: k for k in kernels if (k["recurrence"], k["kernel"]) == (recurrence, kind) and k["file"].startswith("examples/")}
        shown = [f"{k['registers']}, {k['shared']}" if (k := by_target.get(t)) else "" for t in TARGETS]
        rows.append([f"`{recurrence}`", kind, str(next(iter(by_target.values()))["warps"]), *shown])
    spilling = [f"{k['recurrence']}, {k['kernel']}, on {k['target']} ({k['spills']})" for k in kernels if k["spills"]]
    sizes = ", ".join(f"{n} = {v}" for n, v in data["sizes"].items())
    return "\n\n".join([
        f"Triton {data['triton']}, float32, one row a program, {sizes}, other sizes 8. Median and most; shared memory in bytes.",
        table(["target", "kernel", "kernels", "registers", "shared memory", "barriers", "instructions", "that spill", "to compile, median"], sums),
        f"Those that spill, with the instructions that do: {'; '.join(spilling) or 'none'}.",
        "The examples, registers and bytes of shared memory:",
        table(["of", "kernel", "warps", *TARGETS], rows),
    ])  # fmt: skip


def learned(data: list[dict[str, Any]]) -> str:
    """The leaderboard of a study, `rnndsl explore --show STUDY --json`."""
    board = board_of(data)
    (batch,) = {t["batch"] for t in board.settings.training}
    titles = [title for c in board.columns for title in _learned(c, None, batch)]
    rows = []
    for row in board.rows:
        entries = [row.entries.get(c.name) for c in board.columns]
        figures = [text for c, e in zip(board.columns, entries, strict=True) for text in _learned(c, e, batch).values()]
        known = [e for e in entries if e is not None and e.step_seconds is not None]
        rows.append([row.label, *figures, str(known[0].parameters) if known else "", seconds_text(min(e.step_seconds for e in known)) if known else ""])
    notes = [f"{title}: {text}" for title, text in wording.settings_lines(board.settings)]
    return "\n\n".join([table(["cell", *titles, "parameters", "a step"], rows), ". ".join([*wording.remarks(board), *notes]) + "."])


def _learned(column: Column, entry: Entry | None, batch: int) -> dict[str, str]:
    """Titles and figures of a task; batch: sequences of a step of training."""
    first, more = (column.name, f"{column.name}, longer") if column.is_rising else (f"{column.name}, {column.metric}", "longer")
    titles = (first, more, *(("perplexity", "tokens a second") if column.metric == "nats" else ()))
    if entry is None or not entry.runs:
        return dict.fromkeys(titles, "")
    mean, far = wording.mean_text(entry), wording.score_text(entry.beyond, column)
    figures = [f"{wording.solved_text(entry)}, {mean}", f"{wording.beyond_text(entry)}, {far}"] if column.is_rising else [mean, far]
    if column.metric == "nats":
        figures += [wording.perplexity_text(entry.mean), f"{batch * sum(column.train) / 2 / entry.step_seconds:,.0f}" if entry.step_seconds else ""]
    return dict(zip(titles, figures, strict=True))


def _change(before: int, after: int) -> str:
    return str(after) if before == after else f"{before} → {after}"


def written(text: str) -> str:
    """The page with its tables as the results have them."""

    def fill(m: re.Match) -> str:
        folder = next(f for f in (COUNTS, STUDIES, RESULTS) if (f / m[2]).exists())
        data = json.loads((folder / m[2]).read_text(encoding="utf-8"))
        made = learned if folder == STUDIES else tiles if m[2] == "tiles.json" else machine_code if folder == COUNTS else schedules if m[2].startswith("parallel") else kernels if "cases" in data else compiler
        return f"{m[1]}\n{made(data)}\n\n{m[3]}"

    return _TABLE.sub(fill, text)


def named(text: str) -> list[str]:
    """The results that a page has a table of."""
    return [name for _, name, _ in _TABLE.findall(text)]


if __name__ == "__main__":
    for page in (PAGE, MACHINE_CODE, LEARNED):
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
