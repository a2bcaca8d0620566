"""Charts of what `benchmarks/cpu.py` measured, as bars of HTML that are as wide as the page; written when the site is built."""

import json
from html import escape
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_OTHERS = {"nn": "torch.nn", "pararnn": "pararnn-torch", "loop": "PyTorch loop"}


def chart(name: str, cases: str | None = None) -> str:
    """A chart of a file of results: for each layer, forward and backward, how many times as long as rnndsl the others took.

    cases: the names of some, separated by commas; all of them if None.
    """
    data = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    chosen = [data["cases"][c.strip()] for c in cases.split(",")] if cases else data["cases"].values()
    groups = [g for case in chosen for point in case["points"] if (g := _group(case, point))]
    longest = max(times for _, bars in groups for _, times in bars)
    m = data["machine"]
    where = f"{m['processor']}, {m['threads']} threads, PyTorch {m['torch']}, rnndsl {m['rnndsl']}; float32, forward and backward, medians."
    parts = [f"<p>Time of others, in times of rnndsl: over 1 is slower. {escape(where)}</p>"]
    for title, bars in groups:
        parts.append(f"<h4>{escape(title)}</h4>")
        parts += [_bar(who, times, longest) for who, times in bars]
    return f'<div class="chart">{"".join(parts)}</div>'


def _group(case: dict[str, Any], point: dict[str, Any]) -> tuple[str, list[tuple[str, float]]] | None:
    """A layer with its sizes, and of each other library the time in times of ours."""
    task = next((t for t in point["tasks"] if (t["scope"], t["direction"]) == ("layer", "both")), None)
    if task is None:
        return None
    by_name = {e["name"]: e for e in task["candidates"]}
    ours = next(e for e in task["candidates"] if e["ours"])
    sizes = ", ".join(f"{k} = {v}" for k, v in {"B": point["B"], "T": point["T"], **point["sizes"]}.items())
    return f"{case['cell']}, {sizes}", [(who, by_name[n]["median"] / ours["median"]) for n, who in _OTHERS.items() if n in by_name]


def _bar(who: str, times: float, longest: float) -> str:
    """A bar, with a mark where ours ends."""
    text = f"{times:.2f}" if times < 10 else f"{times:.1f}"
    return (
        f'<div class="bar"><span class="who">{escape(who)}</span><span class="rail"><span class="fill" style="width: {100 * times / longest:.1f}%"></span>'
        f'<span class="one" style="left: {100 / longest:.1f}%"></span></span><span class="much">{text} ×</span></div>'
    )
