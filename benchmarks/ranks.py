"""Time of one long sequence over 1 to 512 ranks, simulated from what a shard takes here and a network that is stated.

    python benchmarks/ranks.py                     # measures, writes benchmarks/simulated/ranks.json and docs/long_sequences.svg
    python benchmarks/ranks.py --latency 5e-6 --bandwidth 2e10 --steps 1048576

Measured: processor time of a layer forwards and backwards, and of its recurrence's sweep, a step, at B = 1, the least of some repeats. Simulated: everything else, by the
counts of `rnndsl.runtime.ranks.choice`; products of inputs and params are made once by each rank; a gather among R ranks takes log2(R) latencies and R - 1 messages. It is no measurement of many ranks. Needs matplotlib.
"""

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path
from unittest.mock import patch

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rnndsl  # noqa: E402
from rnndsl.runtime.ranks.line import FRAME  # noqa: E402
from rnndsl.runtime.ranks.repeats import cuts_of  # noqa: E402
from rnndsl.tools.colours import BLUE, INK, RED  # noqa: E402

LINES = [  # a cell, its way, rounds that are assumed
    ("MinGRU", "rounds", 1, BLUE, "-", "MinGRU, affine: 1 round"),
    ("ParaGRU", "rounds", 3, RED, "-", "ParaGRU, nonlinear, by channel: 3 rounds"),
    ("GRU", "pipeline", 0, INK, "-", "GRU, dense: pipeline, or repeats if it forgets nothing"),
    ("GRU", "repeats", 1, INK, "--", "GRU, dense: repeats, if it forgets in the first piece of a shard"),
]
RANKS = [2**k for k in range(10)]
H, MEASURED = 64, 4096


def measured(name: str, repeats: int = 15) -> dict[str, float]:
    """Seconds of a step: of the layer forwards and backwards, products included, and of its recurrence alone."""
    layer = getattr(rnndsl.zoo, name)(D=H, H=H)
    x = torch.randn(1, MEASURED, H)
    with patch.object(type(layer), "_scan", autospec=True, side_effect=type(layer)._scan) as scan:
        layer(x)
    _, recurrence, call, kind = scan.call_args.args
    call = call._replace(**{group: [t.detach().requires_grad_() for t in getattr(call, group)] for group in ("streams", "statics", "first", "initial")})
    runs = {"": lambda: layer(x)[0], "sweep_": lambda: layer._scan(recurrence, call, kind)[0][0]}
    found: dict[str, float] = {}
    for _ in range(repeats):
        for what, run in runs.items():
            begin = time.process_time()
            y = run()
            middle = time.process_time()
            y.sum().backward()
            for way, seconds in (("forward", middle - begin), ("backward", time.process_time() - middle)):
                found[what + way] = min(seconds / MEASURED, found.get(what + way, math.inf))
    return found


def simulated(there: dict[str, float], way: str, rounds: int, ranks: int, given: argparse.Namespace) -> float:
    """Seconds of a training step of one sequence, of one slot a channel."""
    forward, backward, sweep, back = (there[what] * given.steps / ranks for what in ("forward", "backward", "sweep_forward", "sweep_backward"))
    layer, state = forward + backward, 4 * H
    if ranks == 1:
        return layer
    gather = lambda n: math.ceil(math.log2(ranks)) * given.latency + (ranks - 1) * max(FRAME, n * state) / given.bandwidth  # noqa: E731
    if way == "pipeline":
        return layer + (ranks - 1) * (sweep + back + 2 * gather(1))
    if way == "repeats":
        shard = given.steps // ranks
        return layer + rounds * cuts_of(shard)[1] / shard * (sweep + back) + (1 + rounds) * (gather(2) + gather(1))
    is_affine, rounds = rounds == 1, min(rounds, ranks - 1)
    maps = max(0, min(rounds, ranks - 2))  # of the ranks in between
    forwards = rounds * sweep + maps * back + rounds * gather(3) + gather(2)
    backwards = 1 if is_affine or not maps else 2  # for what is handed back, and for the map if it is another
    return layer + forwards + backwards * back + gather(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2**20)
    parser.add_argument("--latency", type=float, default=5e-6, help="seconds of a message")
    parser.add_argument("--bandwidth", type=float, default=2e10, help="bytes a second")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "simulated" / "ranks.json")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "long_sequences.svg")
    parser.add_argument("--times", type=Path, help="what an earlier run has written: its times of a step, instead of measuring")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cells = list(dict.fromkeys(line[0] for line in LINES))
    earlier = json.loads(given.times.read_text(encoding="utf-8"))["cells"] if given.times else {}
    found = {name: earlier[name] if earlier else measured(name) for name in cells}
    lines = [{"cell": c, "way": way, "rounds": rounds, "seconds": [simulated(found[c], way, rounds, r, given) for r in RANKS]} for c, way, rounds, *_ in LINES]
    data = {"simulated": True, "machine": platform.processor() or platform.machine(), "threads": 1, "torch": torch.__version__, "H": H, "B": 1, "steps": given.steps,
            "latency": given.latency, "bandwidth": given.bandwidth, "ranks": RANKS, "cells": found, "lines": lines}  # fmt: skip
    given.out.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    draw(data, given.picture)


def draw(data: dict, path: Path) -> None:
    """Time against ranks, each cell and way a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for found, (*_, colour, dashes, label) in zip(data["lines"], LINES, strict=True):
        axes.loglog(data["ranks"], found["seconds"], f"o{dashes}", base=2, color=colour, markersize=3, label=label)
    axes.set_yscale("log", base=10)
    axes.set_xlabel("ranks")
    axes.set_ylabel("seconds of a training step, simulated")
    axes.set_title(f"B = 1, T = {data['steps']:,}, H = {data['H']}; {1e6 * data['latency']:g} µs, {data['bandwidth'] / 1e9:g} GB/s", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
