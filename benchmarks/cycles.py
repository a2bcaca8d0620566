"""Cycles of the Triton kernels, read from their machine code without a GPU: of a step of the sequential ones, of a round and a chunk of the
parallel ones, for one warp that has a processor to itself. A static count: what a GPU makes of it was not measured.

    python benchmarks/cycles.py                           the kernels of the examples, for sm_90
    python benchmarks/cycles.py --zoo --json FILE         and of the published cells, as data too; fit.py FILE makes the model's tables of it
    python benchmarks/cycles.py --target sm_80 para_gru   of some

Columns: cycles a step with memory that answers at once, and with memory that takes its time; instructions, special functions and registers.
A parallel kernel has two lines, a round and a chunk with one round. Latencies that machine code does not tell are those of the device's table.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ahead import ROOT, channels_of, kinds
from sass import Code, cycles, disassembled, is_together, loops, path

from rnndsl.devices import Device, of_architecture
from rnndsl.runtime.triton.ahead import binary, compiled, tools
from rnndsl.tiles import PARALLEL, SEQUENTIAL, WARP, Tiles

TARGETS = ("sm_80", "sm_90")
AHEAD = (1, 2, 4, 8)
CUTS = ((8, 1, True), (8, 1, False), (8, 4, True), (1, 1, False), (1, 4, True))  # channels and warps of a program, lanes of several steps or one
OTHER = 12.0  # cycles of what has a latency that varies and is none of those below


def latencies(device: Device, has_memory: bool) -> dict[str, float]:
    """Of instructions whose latency varies. has_memory: whether loads take their time."""
    near, conversion = device.near_latency, device.special_latency
    return {
        "MUFU": device.special_latency, "SHFL": device.shuffle_latency, "REDUX": device.shuffle_latency, "BAR": device.barrier_latency,
        "LDS": near, "LDC": near, "LDCU": near, "ULDC": near, "LDL": near, "S2R": near, "I2F": conversion, "F2I": conversion, "F2F": conversion,
        "LDG": device.memory_latency if has_memory else 0.0,
    }  # fmt: skip


def counts(body: Code, device: Device, steps: int = 1) -> dict[str, float]:
    """What a way through a loop takes, a step."""
    apart = device.warp / (device.special_rate / device.issue)
    both = [cycles(body, latencies(device, has_memory), apart, OTHER) for has_memory in (False, True)]
    special = sum(x.name == "MUFU" for x in body)
    stores = sum(x.name == "STG" for x in body)
    return {
        "computing": both[0] / steps, "waiting": both[1] / steps, "instructions": len(body) / steps, "special": special / steps, "stores": stores / steps,
    }  # fmt: skip


def parts(code: Code, tiles: Tiles, device: Device, has_rounds: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """What the loops of a kernel take: a step; or a round, where a parallel kernel has rounds, and a chunk with one."""
    found = loops(code)
    if tiles.schedule == SEQUENTIAL:
        if len(found) == 1:  # else the loop was taken apart, as ptxas does with a short one
            yield "step", counts(path(code, found[0]), device, tiles.ahead)
        return
    chunk = found[0]
    inside = [loop for loop in found if loop in chunk]
    rounds = min((loop for loop in inside if is_together(code, loop)), key=lambda loop: loop.first) if has_rounds else None
    rare = [loop for loop in inside if loop != rounds]  # only what is not finite has to go through them, but for those that have no way round
    if rounds is not None:
        yield "round", counts(path(code, rounds, rare) or path(code, rounds), device)
    yield "chunk", counts(path(code, chunk, rare) or path(code, chunk), device)


def cuts(is_parallel: bool, first: Tiles) -> Iterator[Tiles]:
    """The tiles that are read."""
    if not is_parallel:
        yield from (Tiles(SEQUENTIAL, WARP, ahead=ahead) for ahead in AHEAD)
        return
    for channels, warps, several in CUTS:
        yield Tiles(PARALLEL, channels, lanes=warps * WARP // channels, lane_steps=first.lane_steps if several else 1, warps=warps)


def rows(name: str, kernels: Any, target: str) -> Iterator[dict[str, Any]]:
    """What all kernels of a recurrence take."""
    device, work = of_architecture(target), kernels.costs
    about = {"recurrence": name, "target": target, "slots": work.slots, "streams": work.streams, "functions": work.functions, "memory": device.memory_latency}
    for kernel, function, first in kinds(kernels):
        made_rows: list[dict[str, Any]] = []
        for tiles in cuts(first.schedule == PARALLEL, first):
            made = compiled(function, tiles, target)
            code = disassembled(made.asm["cubin"], tools() / "nvdisasm")
            needs = {"registers": binary(function, tiles, target).registers, "shared": made.metadata.shared}
            for part, found in parts(code, tiles, device, kernel == "parallel forward" and not work.is_exact):
                cut = {"channels": tiles.channels, "ahead": tiles.ahead, "lanes": tiles.lanes, "lane_steps": tiles.lane_steps, "warps": tiles.warps}
                made_rows.append({**about, "kernel": kernel, **cut, "part": part, **found, **needs})
        yield from rolled(made_rows) if first.schedule == SEQUENTIAL else made_rows


def rolled(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of one kernel at several steps ahead, a step: where ptxas made one turn of a loop of several, it stores as many times more."""
    least = min((r["stores"] for r in rows), default=1.0)
    for r in rows:
        turns = r["stores"] / least
        yield {**r, **{n: r[n] / turns for n in ("computing", "waiting", "instructions", "special", "stores")}}


def line(row: dict[str, Any]) -> str:
    cut = f"{row['ahead']} ahead" if row["part"] == "step" else f"{row['channels']} x {row['lanes']} x {row['lane_steps']}, {row['part']}"
    numbers = f"{row['computing']:9.1f} {row['waiting']:9.1f} {row['instructions']:9.1f} {row['special']:7.1f} {row['registers']:9}"
    return f"{row['recurrence']:28} {row['kernel']:17} {row['target']:6} {cut:22} {numbers}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="examples, without .rnn (default: all of examples/)")
    parser.add_argument("--zoo", action="store_true", help="also those of examples/zoo/")
    parser.add_argument("--target", action="append", choices=TARGETS, help="may be given again (default: sm_90)")
    parser.add_argument("--json", type=Path, help="where to put the rows")
    options = parser.parse_args()
    paths = sorted((ROOT / "examples").glob("*.rnn")) + sorted((ROOT / "examples" / "zoo").glob("*.rnn") if options.zoo else [])
    chosen = [p for p in paths if not options.names or p.stem in options.names]
    print(f"{'':76} {'computing':>9} {'waiting':>9} {'instr.':>9} {'special':>7} {'registers':>9}")
    found: list[dict[str, Any]] = []
    failed = 0
    for p in chosen:
        for name, kernels in channels_of(p):
            for target in options.target or ["sm_90"]:
                try:
                    for row in rows(name, kernels, target):
                        found.append(row)
                        print(line(row), flush=True)
                except Exception as e:  # goes on, and says so in the end
                    failed += 1
                    print(f"{name:28} {target}: {type(e).__name__}: {e}", flush=True)
                if options.json:  # after each, so that what is interrupted leaves what it has
                    options.json.write_text("[\n" + ",\n".join(json.dumps(row) for row in found) + "\n]\n")
    print(f"{len(found)} rows, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
