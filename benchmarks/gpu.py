"""Measures the Triton kernels on a GPU: are they right, what does a step cost, and how fast are they next to everything else.

    python benchmarks/gpu.py                        prints tables and writes benchmarks/results/gpu-<name of the GPU>.json
    python benchmarks/gpu.py --quick                fewer shapes
    python benchmarks/gpu.py --only times,layer     these groups alone; written under another name, ending in theirs
    python benchmarks/gpu.py --limit 300 --out DIR  ends after so many seconds; the file is written after every piece
    python benchmarks/gpu.py --device cpu --tiny    runs through all of it in Triton's interpreter, whose times say nothing

The most important groups come first, and none may take more than its share of the time. A page of the results is written beside the data;
`gpu_page.py FILE` writes it anew. pararnn-torch, accelerated-scan and FlashRNN are measured where they are installed. What fails is noted in the file and costs nothing else.
"""

import argparse
import os
import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = Path(__file__).resolve().parent / "results"
SHARES = {  # of the time, at most: one slow group cannot eat the rest
    "agreement": 0.3, "bounds": 0.1, "functions": 0.1, "times": 0.35, "cycles": 0.1, "rounds": 0.1, "dense": 0.15, "layer": 0.15, "model": 0.2,
    "compiled": 0.2,
}  # fmt: skip
GROUPS = tuple(SHARES)
LEAD = 4e-3  # seconds for which the GPU is kept busy before a call, so that what Python does for one that starts few kernels is not counted


def head(device: Any, scale: str) -> dict[str, Any]:
    """What is measured on, and how."""
    import torch

    from rnndsl.tools.bench.machine import machine

    found: dict[str, Any] = {**machine(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "device": str(device.type), "gpu": None}
    if device.type == "cuda":
        from rnndsl.runtime.triton.backend import device_of

        p = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": p.name, "capability": f"{p.major}.{p.minor}", "memory": p.total_memory, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32}, "model": asdict(device_of(device)),
        }  # fmt: skip
    return {"machine": found, "scale": scale, "lead": LEAD}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(scale="full")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", const="quick", dest="scale", help="fewer shapes")
    size.add_argument("--tiny", action="store_const", const="tiny", dest="scale", help="sizes for the interpreter")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: Triton's interpreter; its times say nothing")
    parser.add_argument("--only", metavar="GROUPS", help=f"of {','.join(GROUPS)}; bounds are always measured")
    parser.add_argument("--skip", metavar="GROUPS", default="", help="all but these")
    parser.add_argument("--limit", type=float, default=520.0, metavar="SECONDS", help="when to end (default 520)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where to write (default {RESULTS.relative_to(ROOT)}; with --device cpu nowhere)")
    options = parser.parse_args()
    options.only, options.skip = (names.split(",") if names else [] for names in (options.only, options.skip))
    for name in (*options.only, *options.skip):
        if name not in GROUPS:
            parser.error(f"there is no group {name}; there is {', '.join(GROUPS)}")
    options.groups = [g for g in GROUPS if g == "bounds" or (g in (options.only or GROUPS) and g not in options.skip)]
    return options


def main() -> int:
    options = parsed()
    if options.device == "cpu":  # before anything imports triton
        os.environ["TRITON_INTERPRET"] = "1"
    import torch
    from on_gpu import groups, scale, tables
    from on_gpu.page import page
    from on_gpu.record import OutOfTime, Record, ShareUsed

    from rnndsl.tools.tune.timer import timer_of

    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu.py: PyTorch finds no GPU here; --device cpu --tiny runs through everything in Triton's interpreter", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device()) if options.device == "cuda" else torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32, for everybody
    about = head(device, options.scale)
    path = place(options, about["machine"]["gpu"])
    record = Record(about, path, options.limit, device)
    run = groups.Run(record, getattr(scale, options.scale.upper()), device, timer_of(device, LEAD))
    for n, group in enumerate(options.groups):
        record.begin(options.limit * SHARES[group])
        try:
            record.guarded(group, "all of it", partial(groups.GROUPS[group], run))
        except ShareUsed:
            record.leave_out(group, "the rest", "its share of the time was up")
        except (OutOfTime, KeyboardInterrupt) as e:
            why = "the time was up" if isinstance(e, OutOfTime) else "interrupted"
            for g in options.groups[n:]:
                record.leave_out(g, "the rest" if g == group else "all of it", why)
            break
        finally:
            print(tables.table(group, record.groups.get(group, [])), flush=True)
    record.save()
    print(tables.ends(record.data))
    if path is not None:
        path.with_suffix(".md").write_text(page(record.data))
        print(f"wrote {path} and {path.with_suffix('.md').name}")
    return 0


def place(options: argparse.Namespace, gpu: str | None) -> Path | None:
    """The file to write; None for none."""
    folder = options.out or (RESULTS if gpu else None)
    parts = ["gpu", re.sub(r"[^a-z0-9]+", "-", (gpu or "interpreter").lower()).strip("-")]
    parts += [options.scale] * (options.scale != "full") + options.only + [f"without-{g}" for g in options.skip]
    return folder / f"{'-'.join(parts)}.json" if folder else None


if __name__ == "__main__":
    raise SystemExit(main())
