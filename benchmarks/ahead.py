"""Compiles Triton kernels ahead of time, without a GPU, and prints what they need: registers, spills, barriers, shuffles, instructions, and
seconds of processor time to compile (with a fresh TRITON_CACHE_DIR; next to none where the cache has a kernel).

    python benchmarks/ahead.py                              every kernel of the examples, for sm_80, sm_90 and gfx942
    python benchmarks/ahead.py --zoo                        and of the published cells
    python benchmarks/ahead.py --target sm_90 para_gru      of some
    python benchmarks/ahead.py --rows gru                   and kernels over rows, of stages and of rounds
    python benchmarks/ahead.py --together 64 --size H=1024 gru   of kernels of whole steps, those of programs that compute a row together
    python benchmarks/ahead.py --json table.json            as data too
    python benchmarks/ahead.py --zoo --counts               into counts/ahead.json, where what an older commit needed stands beside it; then tables.py
    python benchmarks/ahead.py --zoo --tiles                kernels of whole steps, of single ones, and over rows into counts/tiles.json, but those that stand there as they are: what
                                                            was interrupted goes on; then tables.py
"""

import argparse
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton

import rnndsl
from rnndsl.devices import USUAL, of_architecture
from rnndsl.runtime.triton.ahead import TARGETS, binary, kernels_of, key_of
from rnndsl.runtime.triton.channels import Channels
from rnndsl.runtime.triton.files import module_of, text_of
from rnndsl.runtime.triton.rounds import cut_of_scan
from rnndsl.runtime.triton.row_launch import cut_of
from rnndsl.runtime.triton.rows import RowRounds
from rnndsl.runtime.triton.step import CUT
from rnndsl.runtime.triton.tile_launch import WIDEST, Asked, shared_cut, steps_at_once, usual_cut
from rnndsl.runtime.triton.tiled import Tiled, TiledStep
from rnndsl.tiles import PARALLEL, SEQUENTIAL, candidates

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("registers", "spills", "shared", "barriers", "special", "shuffles", "instructions", "seconds")
COUNTS, TILES = (ROOT / "benchmarks" / "counts" / f"{name}.json" for name in ("ahead", "tiles"))
ONE_ROW = Asked(1, of_architecture(USUAL), "ieee", 4)
_PLACE = ("file", "recurrence", "kernel", "target")
_STEPS = 4096  # of a scan
SIZES = {"D": 64, "H": 256, "N": 4, "K": 16, "V": 16}


def channels_of(path: Path, real: torch.dtype = torch.float32) -> Iterator[tuple[str, Channels]]:
    """The recurrences of a program that have kernels of channels, as `recurrences_of` gives them."""
    yield from ((name, kernels) for name, kernels in recurrences_of(path, real) if isinstance(kernels, Channels))


def recurrences_of(path: Path, real: torch.dtype = torch.float32) -> Iterator[tuple[str, Channels | Tiled]]:
    """The recurrences of a program that have kernels, with common sizes and default hyperparameters."""
    for cell, cls, module in modules_of(path, real):
        yield from ((f"{cell}.{label}", getattr(module, kernels)) for label, kernels in cls._kernels["triton"].kernels.items())


def steps_of(path: Path) -> Iterator[tuple[str, object]]:
    """The cells of a program of which a step is a kernel, and that kernel."""
    yield from ((cell, getattr(module, cls._kernels["triton"].step.name)) for cell, cls, module in modules_of(path) if cls._kernels["triton"].step)


def rows_of(path: Path, real: torch.dtype = torch.float32) -> Iterator[tuple[str, str, Any, Any]]:
    """The kernels over rows of a program, of stages and of scans: what each is of, what it is called, and how it is cut; none of a stage of these sizes
    that is too large for a program."""
    for cell, cls, module in modules_of(path, real, rows=True):
        for label, rounds in cls._kernels["triton"].rounds.items():
            said: RowRounds = getattr(module, rounds)
            for number, of in enumerate((said, *said.parts)):
                for name in ("advance", "look", "linear", "pull", "gradients"):
                    stages = [(k, stage) for k, stage in enumerate(getattr(of, name, ()), 1) if stage.kernel is not None and stage.widest <= WIDEST]
                    part = f"part {number} {name}" if number else name
                    yield from ((f"{cell}.{label}", f"{part} {k}", stage.kernel, cut_of(stage, {}, ONE_ROW)) for k, stage in stages)
            for k, scan in enumerate(said.scans, 1):
                cut = cut_of_scan(scan, _STEPS)
                yield from ((f"{cell}.{label}", f"{kind} {k}", kernel, cut) for kind, kernel in (("scan", scan.forward), ("scan-back", scan.backward)))


def modules_of(path: Path, real: torch.dtype = torch.float32, rows: bool = False) -> Iterator[tuple[str, Any, ModuleType]]:
    """The cells of a program that have kernels: what each is called, its class, and the module of its kernels. rows: that of those over rows."""
    text = path.read_text(encoding="utf-8")
    loaded = rnndsl.load(text)
    for cell in re.findall(r"^cell (\w+)", text, re.M):
        cls = getattr(loaded, cell)
        if not (cls._kernels["triton"].rounds if rows else cls._kernels["triton"].kernels):
            continue
        known = inspect.signature(cls.__init__).parameters
        sizes = {n: SIZES.get(n, 8) for n in cls._kernels["triton"].sizes}
        hypers = {n: float(known[n].default) for n in cls._kernels["triton"].hypers}
        yield cell, cls, module_of(text_of(cls._kernels["triton"], sizes, hypers, real, rows), cell)


def tiles_of(kernels, parallel: bool):
    """The first tiles that the backend would look at."""
    wanted = PARALLEL if parallel else SEQUENTIAL
    return next(t for t in candidates(kernels.costs, 2048, 4096) if t.schedule == wanted)


def kinds(kernels, together: int = 0) -> Iterator[tuple[str, object, object]]:
    """The kernels of a recurrence: what each is called, and its tiles; none where a step of these sizes is too large for a program. together: how many compute
    whole steps of the same rows, 0 where one does."""
    if isinstance(kernels, Tiled):
        if kernels.widest > WIDEST:
            return
        cut = partial(shared_cut, kernels, {"together": together}) if together and kernels.divided else partial(usual_cut, kernels, {})
        yield from (("forward", kernels.forward, cut(ONE_ROW)), ("backward", kernels.backward, cut(replace(ONE_ROW, backward=True))))
        return
    for kernel, (function, parallel) in kernels_of(kernels).items():
        yield kernel, function, tiles_of(kernels, parallel)


def counted(rows: dict[tuple[str, ...], dict]) -> str:
    """The file of counts with what was found now: by program, recurrence, kernel and target. What has no past in it is left out."""
    data = json.loads(COUNTS.read_text(encoding="utf-8"))
    for known in data["kernels"]:
        if (row := rows.get(tuple(known[k] for k in ("file", "recurrence", "kernel", "target")))) is not None:
            known["after"] = [row[c] for c in data["columns"]]
    kernels = ",\n".join(json.dumps(k) for k in data.pop("kernels"))
    return f'{json.dumps(data)[:-1]}, "kernels": [\n{kernels}\n]}}\n'


def tiled_kinds(path: Path) -> Iterator[tuple[str, str, Any, Any]]:
    """Kernels of whole steps, those of a single step of a cell, and those over rows: what each is of, what it is called, and how it is cut."""
    for name, kernels in recurrences_of(path):
        if isinstance(kernels, Tiled):
            yield from ((name, *kind) for kind in kinds(kernels))
    for cell, kernel in steps_of(path):
        if not isinstance(kernel, TiledStep):
            yield cell, "step", kernel, CUT
        elif steps_at_once(kernel):
            yield cell, "step", kernel.kernel, usual_cut(kernel, {}, ONE_ROW)
    yield from rows_of(path)


def count_tiles(paths: list[Path], targets: list[str]) -> int:
    """Fills counts/tiles.json: all that is not in it of these kernels, as they are now. How many do not compile."""
    data = json.loads(TILES.read_text(encoding="utf-8")) if TILES.exists() else {"kernels": []}
    known = {tuple(k[c] for c in _PLACE): k for k in data["kernels"]}
    failed = 0
    found = [(f"{path.parent.name}/{path.stem}", *kind) for path in paths for kind in tiled_kinds(path)]
    found.sort(key=lambda f: " " in f[2])  # those over rows come last
    for target in targets:
        for file, name, kernel, function, cut in found:
            place = (file, name, kernel, target)
            source = hashlib.sha256(f"{key_of(function)} {cut}".encode()).hexdigest()[:16]
            if known.get(place, {}).get("source") == source:
                continue
            try:
                needs = asdict(binary(function, cut, target))
            except Exception as e:  # goes on, and says so in the end
                failed += 1
                print(*place, f"{type(e).__name__}: {str(e).splitlines()[-1][:120]}", flush=True)
                continue
            print(*place, needs, flush=True)
            known[place] = dict(zip(_PLACE, place, strict=True)) | {"source": source, "warps": cut.warps, "needs": [needs[c] for c in COLUMNS]}
            head = json.dumps({"triton": triton.__version__, "sizes": SIZES, "columns": COLUMNS})[:-1]
            kernels = ",\n".join(json.dumps(known[p]) for p in sorted(known))
            TILES.write_text(f'{head}, "kernels": [\n{kernels}\n]}}\n', encoding="utf-8")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="examples, without .rnn (default: all of examples/)")
    parser.add_argument("--zoo", action="store_true", help="also those of examples/zoo/")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be given again (default: all)")
    parser.add_argument("--rows", action="store_true", help="also kernels over rows, of stages and of rounds")
    parser.add_argument("--together", type=int, default=0, help="how many programs compute whole steps of the same rows")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=VALUE", help=f"other than {', '.join(f'{n}={v}' for n, v in SIZES.items())}")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "bfloat16"), help="of the streams")
    parser.add_argument("--json", type=Path, help="where to put the table")
    parser.add_argument("--counts", action="store_true", help="put what is found into benchmarks/counts/ahead.json")
    parser.add_argument("--tiles", action="store_true", help="kernels of whole steps, of single ones, and over rows into benchmarks/counts/tiles.json")
    options = parser.parse_args()
    SIZES.update((name, int(value)) for name, value in (given.split("=") for given in options.size))
    paths = sorted((ROOT / "examples").glob("*.rnn")) + sorted((ROOT / "examples" / "zoo").glob("*.rnn") if options.zoo else [])
    chosen = [p for p in paths if not options.names or p.stem in options.names]
    if options.tiles:
        return 1 if count_tiles(chosen, options.target or list(TARGETS)) else 0
    streams = getattr(torch, options.dtype)
    real = torch.float64 if streams == torch.float64 else torch.float32
    rows, failed = [], 0
    by_kernel: dict[tuple[str, ...], dict] = {}
    print("  ".join([f"{'recurrence':32} {'kernel':18} {'target':7}", *COLUMNS]))
    found = [(p, name, *k) for p in chosen for name, kernels in recurrences_of(p, real) for k in kinds(kernels, options.together)]
    found += [(p, *k) for p in chosen if options.rows for k in rows_of(p, real)]
    for target in options.target or TARGETS:
        for path, name, kernel, function, tiles in found:
            title = f"{name:32} {kernel:18} {target:7}"
            try:
                needs = asdict(binary(function, tiles, target, streams, real))
            except Exception as e:  # goes on, and says so in the end
                failed += 1
                print(f"{title}  {type(e).__name__}: {str(e).splitlines()[-1][:120]}", flush=True)
                continue
            rows.append({"recurrence": name, **needs})
            by_kernel[f"{path.parent.name}/{path.stem}", name, kernel, target] = needs
            print("  ".join([title, *(f"{needs[c]:{len(c)}}" for c in COLUMNS)]), flush=True)
            if options.json:  # after each, so that what is interrupted leaves what it has
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
            if options.counts:
                COUNTS.write_text(counted(by_kernel), encoding="utf-8")
    print(f"{len(rows)} kernels, {sum(r['spills'] > 0 for r in rows)} of them spill, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
