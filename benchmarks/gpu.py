"""Measures the Triton kernels on a GPU: are they right, what does a step cost, and how fast are they next to everything else.

    python benchmarks/gpu.py                           prints tables and writes benchmarks/results/gpu-<name of the GPU>.json, and a page
    python benchmarks/gpu.py --quick                   fewer shapes
    python benchmarks/gpu.py --only times,layer        these groups alone; written under another name, ending in theirs
    python benchmarks/gpu.py --limit 300 --out DIR     ends after so many seconds; the file is written after every piece
    python benchmarks/gpu.py --device emulated --tiny  runs through all of it without a GPU: compiled kernels in the emulator of tests/ptx
    python benchmarks/gpu.py --device cpu --tiny       the same in Triton's interpreter; neither says anything about time

First a pool of processes compiles every kernel. Then one process measures, the most important groups first, none for more than its share of the time;
where it crashes or hangs, another goes on behind the piece that it was at, which is an error in the file and costs nothing else. A page of the
results is written beside the data; `gpu_page.py FILE` writes it anew. Other people's layers are measured where they are installed.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
RESULTS = Path(__file__).resolve().parent / "results"
SHARES = {  # of the time, at most: one slow group cannot eat the rest
    "compile": 0.25, "agreement": 0.25, "functions": 0.05, "bounds": 0.05, "times": 0.35, "cycles": 0.1, "rounds": 0.08, "sanitizer": 0.15, "dense": 0.12,
    "layer": 0.12, "model": 0.2, "compiled": 0.2,
}  # fmt: skip
GROUPS = tuple(SHARES)
HEAD = 120.0  # seconds until it must be known what is measured on


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(scale="full")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", const="quick", dest="scale", help="fewer shapes")
    size.add_argument("--tiny", action="store_const", const="tiny", dest="scale", help="sizes for a CPU")
    size.add_argument("--part", action="store_const", const="part", dest="scale", help="those, of some cells")
    parser.add_argument("--device", default="cuda", choices=("cuda", "emulated", "cpu"), help="emulated, cpu: without a GPU, in the emulator or in Triton's interpreter")
    parser.add_argument("--only", metavar="GROUPS", help=f"of {','.join(GROUPS)}; bounds are always measured")
    parser.add_argument("--skip", metavar="GROUPS", default="", help="all but these")
    parser.add_argument("--limit", type=float, default=520.0, metavar="SECONDS", help="when to end (default 520)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where to write (default {RESULTS.relative_to(ROOT)}; without a GPU nowhere)")
    options = parser.parse_args()
    options.only, options.skip = (names.split(",") if names else [] for names in (options.only, options.skip))
    for name in (*options.only, *options.skip):
        if name not in GROUPS:
            parser.error(f"there is no group {name}; there is {', '.join(GROUPS)}")
    options.groups = [g for g in GROUPS if g == "bounds" or (g in (options.only or GROUPS) and g not in options.skip)]
    return options


def main() -> int:
    options, began = parsed(), time.monotonic()
    ends = began + options.limit
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as well as an interruption from the keyboard, which a shell has its background ignore
    with tempfile.TemporaryDirectory() as caches:
        settle(options, Path(caches))
        try:
            head = subprocess.run([sys.executable, "-m", "on_gpu.head", "--device", options.device], stdout=subprocess.PIPE, text=True, timeout=HEAD)
        except subprocess.TimeoutExpired:
            print(f"gpu.py: the GPU did not answer within {HEAD:g} s", file=sys.stderr)
            return 2
        if head.returncode:
            return head.returncode
        about = json.loads(head.stdout.splitlines()[-1])
        path = place(options, about["machine"]["gpu"], Path(caches))
        return measured(options, about, path, began, ends)


def settle(options: argparse.Namespace, caches: Path) -> None:
    """The environment of the processes that measure: before anything imports triton. Caches are empty, so that all is compiled here."""
    os.environ["TRITON_INTERPRET"] = "1" if options.device == "cpu" else "0"
    os.environ["TRITON_CACHE_DIR"], os.environ["RNNDSL_CACHE"] = str(caches / "triton"), str(caches / "rnndsl")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def measured(options: argparse.Namespace, about: dict[str, Any], path: Path, began: float, ends: float) -> int:
    from on_gpu import ahead, watch
    from on_gpu.record import Record

    path.unlink(missing_ok=True)
    record = Record(path, ends)
    record.data |= {"version": 2, "date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about["machine"], "scale": options.scale}
    record.data |= {"lead": about["lead"], "limit": options.limit, "started": began}
    record.save()
    groups = [g for g in options.groups if g != "compile"]
    why = "the time was up"
    try:
        if "compile" in options.groups and about["target"] is not None:
            ahead.compiled(record, options.device, options.scale, about["target"], about["tiles"], groups, options.limit * SHARES["compile"])
        elif "compile" in options.groups:
            record.leave_out("compile", "all of it", "the interpreter compiles nothing")
            record.save()
        watch.measured(path, options.device, options.scale, ends, {g: options.limit * SHARES[g] for g in groups})
    except KeyboardInterrupt:
        why = "interrupted"
    finish(path, ends, groups, why)
    if path.parent != Path(os.environ["TRITON_CACHE_DIR"]).parent:
        print(f"wrote {path} and {path.with_suffix('.md').name}")
    return 0


def finish(path: Path, ends: float, groups: list[str], why: str) -> None:
    """Says what is missing, and writes the page."""
    from on_gpu import tables
    from on_gpu.page import page
    from on_gpu.record import Record, progress_of

    record = Record(path, ends)
    for group in groups:
        said = {row["what"] for row in record.data["left_out"] if row["group"] == group}
        if group not in record.data["over"] and not said & {"all of it", "the rest"}:
            record.leave_out(group, "the rest" if record.groups.get(group) else "all of it", why)
    record.save()
    print(tables.ends(record.data))
    path.with_suffix(".md").write_text(page(record.data))
    progress_of(path).unlink(missing_ok=True)


def place(options: argparse.Namespace, gpu: str | None, caches: Path) -> Path:
    """The file to write, among what is thrown away where none is asked for."""
    folder = options.out or (RESULTS if gpu else caches)
    without = {"cpu": "interpreter"}.get(options.device, options.device)
    parts = ["gpu", re.sub(r"[^a-z0-9]+", "-", (gpu or without).lower()).strip("-")]
    parts += [options.scale] * (options.scale != "full") + options.only + [f"without-{g}" for g in options.skip]
    return folder / f"{'-'.join(parts)}.json"


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())
