"""What tuning found, as text and as data."""

from dataclasses import asdict
from typing import Any

from rnndsl.runtime.triton.tuned import shape_class
from rnndsl.tiles import Tiles
from rnndsl.tools.bench.report import aligned, seconds_text, times_text
from rnndsl.tools.tune.run import Result, Tuned, common, line

FASTEST = 5  # rows of a table


def table(result: Result) -> str:
    """The whole page: where it ran, a table a call of kernels, where the winners are kept, and a line that fixes them."""
    m = result.machine
    sizes = ", ".join([f"B = {result.batch}", f"T = {result.steps}", *(f"{n} = {v}" for n, v in result.sizes.items())])
    lines = [
        f"{result.cell} ({result.program}), {result.dtype} streams, {sizes}",
        f"{result.device}; torch {m['torch']}, triton {m['triton']}, rnndsl {m['rnndsl']}",
    ]
    for found in result.tuned:
        lines += ["", *_table(found)]
    if result.untuned:
        lines += ["", "Not tuned", *(f"  {name}: {why}" for name, why in result.untuned.items())]
    if result.interrupted:
        lines += ["", "Interrupted: this is what was measured until then."]
    return "\n".join([*lines, *_ends(result)]) + "\n"


def _table(found: Tuned) -> list[str]:
    title = f"{found.label}, {'backward' if found.is_backward else 'forward'}: {found.channels:,} channels, {found.steps:,} steps"
    shown = found.measured[:FASTEST]
    if found.chosen in found.measured and found.chosen not in shown:
        shown = [*shown, found.chosen]
    rows = [
        [str(t), seconds_text(found.median(t)), seconds_text(found.predicted[t]), times_text(found.median(t) / found.predicted[t]), _note(found, t)]
        for t in shown
    ]
    lines = [title, *(aligned([[_count(found), "measured", "predicted", "ratio", ""], *rows]) if rows else [f"  none of {len(found.runs)} ran"])]
    failures = found.failures
    if failures:
        first, why = next(iter(failures.items()))
        lines.append(f"  {len(failures)} failed; the first, {first}: {why}")
    return lines


def _count(found: Tuned) -> str:
    dropped = sum(run.is_dropped for run in found.runs.values())
    return f"  the fastest of {len(found.runs)}" + (f" ({dropped} dropped as slow)" if dropped else "")


def _note(found: Tuned, tiles: Tiles) -> str:
    if tiles != found.chosen:
        return ""
    best = found.median(found.measured[0])
    return "the model's choice" + (f", {times_text(found.median(tiles) / best)} the best" if tiles != found.measured[0] else "")


def _ends(result: Result) -> list[str]:
    """Where winners are kept, and the line to paste."""
    lines = []
    if result.stored is not None:
        classes = list(dict.fromkeys(shape_class(t.channels, t.steps) for t in result.tuned))
        lines += ["", f"Stored in {result.stored}, for calls of {'; '.join(classes)}.", 'Layers with schedule="auto" and without tiles of their own take them from now on.']
    if (shared := common(result.tuned)) is not None:
        tiles, times = shared
        lines += ["", f"The best that holds for all of these calls, {times:.2f} times the time of the winners:", f"  {line(tiles)}"]
    return lines


def data(result: Result) -> dict[str, Any]:
    """Everything raw, as `--json` prints it. Seconds are of one call."""
    shared = common(result.tuned)
    return {
        "version": 1,
        "program": result.program,
        "cell": result.cell,
        "dtype": result.dtype,
        "device": result.device,
        "machine": result.machine,
        "B": result.batch,
        "T": result.steps,
        "sizes": result.sizes,
        "calls": [tuned_data(t) for t in result.tuned],
        "untuned": result.untuned,
        "stored": str(result.stored) if result.stored is not None else None,
        "line": line(shared[0]) if shared is not None else None,
        "interrupted": result.interrupted,
    }


def tuned_data(found: Tuned) -> dict[str, Any]:
    """One call of kernels: every way to cut it, the fastest first, those that failed last."""
    candidates = [
        {
            **asdict(t),
            "predicted": found.predicted[t],
            "median": found.median(t),
            "quartiles": list(found.runs[t].timing.quartiles),
            "seconds": found.runs[t].timing.seconds,
            "dropped": found.runs[t].is_dropped,
        }
        for t in found.measured
    ]
    return {
        "label": found.label,
        "direction": "backward" if found.is_backward else "forward",
        "channels": found.channels,
        "steps": found.steps,
        "chosen": asdict(found.chosen),
        "candidates": candidates,
        "failed": [{**asdict(t), "why": why} for t, why in found.failures.items()],
    }
