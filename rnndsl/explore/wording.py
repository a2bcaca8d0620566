"""How tables, pages and pictures say what is on a leaderboard."""

import math
from collections.abc import Mapping
from typing import Any

from rnndsl.explore.board import Board, Column, Entry, Settings

NOTHING = "–"
EXPLAINED = (
    "Each figure is of the rate with the best mean score over seeds, of several such the one that solved it sooner; it is chosen by the scores that are shown. "
    "Solved: how many seeds have learned the task at the longest length of training; beyond: how many of these also do so in the mean over longer sequences. "
    "A run that diverged scores as chance does; ± is the standard deviation over seeds. Rows are ordered by how far they come from chance to a perfect score, over "
    "tasks and lengths."
)


def plain(text: str) -> str:
    """A name from outside, on one line."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def short(text: str, longest: int) -> str:
    """A name from outside on one line, its middle left out where it has more letters."""
    name = plain(text)
    return name if len(name) <= longest else f"{name[: longest - 9]}…{name[-8:]}"


def score_text(score: float | None, column: Column) -> str:
    """A score, or a dash."""
    if score is None:
        return NOTHING
    if not math.isfinite(score):
        return "not finite"
    return f"{score:.3g}" if column.metric in ("mse", "D_stsp") else f"{score:.3f}"


def mean_text(entry: Entry) -> str:
    """The mean over seeds, and where a small score is a good one their spread."""
    text = score_text(entry.mean, entry.column)
    if entry.column.is_rising or entry.spread is None:
        return text
    return f"{text} ± {score_text(entry.spread, entry.column)}"


def solved_text(entry: Entry) -> str:
    """`3/3`, `2/2 of 3` of what is not finished; a word where no run has a score."""
    if not entry.runs:
        return state_text(entry)
    if entry.diverged == len(entry.runs):
        return "diverged"
    return f"{entry.solved}/{len(entry.runs)}{unfinished_text(entry)}" if entry.column.has_goal else f"{len(entry.runs)}{unfinished_text(entry)}"


def beyond_text(entry: Entry) -> str:
    """`2/3`, of seeds that have learned a task beyond the lengths of training."""
    found = entry.solved_beyond
    return NOTHING if found is None or not entry.runs or entry.diverged == len(entry.runs) else f"{found}/{len(entry.runs)}"


def unfinished_text(entry: Entry) -> str:
    """` of 3` behind fewer seeds."""
    return f" of {entry.seeds}" if entry.seeds > len(entry.runs) else ""


def state_text(entry: Entry) -> str:
    """What the runs of an entry without a score do."""
    return next((name for name in ("running", "waiting", "failed") if entry.counts[name]), NOTHING)


def count_text(count: float | None) -> str:
    """`30,000`."""
    return NOTHING if count is None else f"{count:,.0f}"


def short_count_text(count: int | None) -> str:
    """`30.0k`."""
    if count is None:
        return NOTHING
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * factor:
            value = count / factor
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.1f}{unit}"
    return str(count)


def rate_text(rate: float | None) -> str:
    return NOTHING if rate is None else f"{rate:g}"


def perplexity_text(nats: float | None) -> str:
    return NOTHING if nats is None else f"{math.exp(nats):.2f}" if nats < 100 else "not finite"


def bits_text(nats: float | None) -> str:
    """Of a token, from nats."""
    return NOTHING if nats is None else f"{nats / math.log(2):.3f}"


def lengths_text(column: Column) -> str:
    """`3–40, tested to 256`."""
    low, high = column.train
    train = str(low) if low == high else f"{low}–{high}"
    return f"{train}, tested to {column.test[1]}" if column.test[1] > high else train


def chance_text(column: Column) -> str:
    return score_text(column.chance, column)


def training_text(training: Mapping[str, Any]) -> str:
    """What all runs were trained by, in a sentence."""
    t = training
    forcing = t.get("forcing")
    model = f"{t['layers']} {t['block']} block{'s' * (t['layers'] != 1)}" if forcing is None else f"the cell alone, its state drawn to the data, alpha {forcing}"
    return (
        f"at most {t['steps']:,} steps of {t['batch']} sequences, fewer where a task is solved; {model}; AdamW, decay {t['decay']:g} "
        f"of matrices, gradients clipped to {t['clip']:g}, the rate risen over {t['warmup']:.0%} of the steps and fallen by a cosine to {t['rate_end']:.0%}; {t['looks']} looks on the way"
    )


def settings_lines(settings: Settings) -> list[tuple[str, str]]:
    """What an appendix has to say: titles and texts."""
    rows = [("Training", training_text(t)) for t in settings.training]
    rows.append(("Tasks", "; ".join(f"{name}, {about}" for name, about in settings.tasks.items())))
    rows.append(("Rates", ", ".join(map(rate_text, settings.rates))))
    rows.append(("Seeds", seeds_text(settings.seeds)))
    rows.append(("Versions", ", ".join(settings.versions)))
    rows.append(("Machine" + "s" * (len(settings.machines) > 1), "; ".join(settings.machines)))
    return [(title, text) for title, text in rows if text]


def seeds_text(seeds: tuple[int, ...]) -> str:
    """`0 to 2`."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


def remarks(board: Board) -> list[str]:
    """What is amiss: runs that diverged, failed, or are still to come."""
    found = []
    for title, name in (("Diverged", "diverged"), ("Failed", "failed")):
        places: dict[str, list[str]] = {}
        for column in board.columns:
            for row, entry in board.entries(column):
                if entry.counts[name]:
                    reason = "; ".join(entry.errors) if name == "failed" else ""
                    places.setdefault(reason, []).append(f"{row.label} on {column.name}{_times(entry.counts[name])}")
        found += [f"{title}: {', '.join(where)}{f': {reason}' if reason else ''}" for reason, where in places.items()]
    left = {name: sum(e.counts[name] for c in board.columns for _, e in board.entries(c)) for name in ("running", "waiting")}
    if any(left.values()):
        found.append("Not finished: " + ", ".join(f"{n:,} run{'s' * (n != 1)} {name}" for name, n in left.items() if n))
    return found


def _times(count: int) -> str:
    return f" ({count} runs)" if count > 1 else ""
