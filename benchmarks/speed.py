"""Times the compiler itself: `rnndsl check` and `compile` of a 12-line cell as processes, and files of many cells.

    python benchmarks/speed.py                      prints the figures
    python benchmarks/speed.py --save               and writes them to benchmarks/results/compiler.json
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rnndsl.tools.bench.machine import processor  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "compiler.json"
CELL = """cell {name}(D, H):
  "A GRU with diagonal recurrent weights."
  input x: [D]
  state h: [H]
  param W_z, W_r, W_n: [H, D]
  param a_z, a_r, a_n: [H]
  param b_z, b_r, b_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1] + b_z)
  r = sigmoid(W_r @ x + a_r * h[t-1] + b_r)
  n = tanh(W_n @ x + a_n * (r * h[t-1]) + b_n)
  h[t] = (1 - z) * h[t-1] + z * n
  output h
"""
COUNTS = (125, 250, 500, 1000)
TARGETS = {"check": 0.5, "compile": 1.5}  # seconds


def process_times(arguments: list[str], folder: Path, repeats: int) -> dict[str, float]:
    """Seconds of a command as a process: the best and the median wall time, and the median processor time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    walls, processors = [], []
    for _ in range(repeats + 1):
        start, before = time.perf_counter(), os.times()
        subprocess.run([sys.executable, "-m", "rnndsl", *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        walls.append(time.perf_counter() - start)
        processors.append(after.children_user + after.children_system - before.children_user - before.children_system)
    walls, processors = walls[1:], processors[1:]  # the first run fills caches
    found = {"best wall": min(walls), "median wall": statistics.median(walls), "median processor": statistics.median(processors)}
    return {k: round(v, 3) for k, v in found.items()}


def imports_torch(folder: Path) -> bool:
    """Whether `rnndsl check` imports torch."""
    code = "import sys; from rnndsl.cli import main; main(['check', 'cell.rnn']); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip() == "True"


def many_cells() -> dict[str, dict[str, float]]:
    """Seconds of processor time to parse, and to parse and check, one file of n cells; the best of three runs."""
    sys.path.insert(0, str(ROOT))
    from rnndsl import compiler
    from rnndsl.diagnostics import Source
    from rnndsl.syntax.parser import parse

    parse(Source("warm.rnn", CELL.format(name="C")))
    found: dict[str, dict[str, float]] = {}
    for n in COUNTS:
        source = Source("many.rnn", "\n".join(CELL.format(name=f"C{i}") for i in range(n)))
        seconds = {}
        for what, act in (("parse", parse), ("parse and check", compiler.compiled)):
            best = float("inf")
            for _ in range(3):
                gc.collect()
                start = time.process_time()
                act(source)
                best = min(best, time.process_time() - start)
            seconds[what] = round(best, 4)
        found[str(n)] = seconds
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true", help=f"write the figures to {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--repeats", type=int, default=9, help="processes a figure (default 9)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cell.rnn").write_text(CELL.format(name="C"))
        seconds = {c: process_times([c, "cell.rnn"], folder, options.repeats) for c in TARGETS}
        torch = imports_torch(folder)
    cells = many_cells()

    for command, times in seconds.items():
        met = "met" if times["best wall"] < TARGETS[command] else "MISSED"
        print(f"rnndsl {command:8} {', '.join(f'{k} {v:.3f} s' for k, v in times.items())}; target {TARGETS[command]} s: {met}")
    print(f"check imports torch: {'yes' if torch else 'no'}")
    for n, times in cells.items():
        rows = ", ".join(f"{what} {value:.3f} s ({1000 * value / int(n):.2f} ms a cell)" for what, value in times.items())
        print(f"{n:>5} cells: {rows}")
    if options.save:
        machine = {"python": platform.python_version(), "processor": processor(), "cores": os.cpu_count()}
        data = {"machine": machine, "process_seconds": seconds, "check_imports_torch": torch, "seconds_by_cells": cells}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(data, indent=2) + "\n")
        print(f"wrote {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
