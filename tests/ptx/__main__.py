"""Runs the kernels of a program's cells in the emulator, at every schedule, and says how far they are from the reference:

    python -m tests.ptx my.rnn --size H=17 --steps 37 --noise 2 --target sm_80
"""

import argparse
import re
import sys
from pathlib import Path

import rnndsl
from tests.agreement import kernels_run
from tests.ptx.cells import DTYPES, TILES, Run, compared, wrong_in
from tests.ptx.source import Unknown


def number(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, int(value)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.ptx", description="Runs the Triton kernels of cells without a GPU, against the reference.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--cell", action="append", help="only this one")
    parser.add_argument("--schedule", action="append", choices=TILES, help="all, where none is named")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="float32 and float64, where none is named; of half ones the streams are rounded")
    parser.add_argument("--size", action="append", type=number, default=[], metavar="NAME=VALUE")
    parser.add_argument("--tile", action="append", type=number, default=[], metavar="NAME=VALUE", help="such as channels=8, lanes=16; for one schedule")
    for name, value, what in (("batch", 2, ""), ("steps", 11, ""), ("noise", 2, "units in the last place"), ("seed", 0, "of how warps take turns")):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{what or name}; {value}")
    parser.add_argument("--target", default="sm_90", choices=("sm_80", "sm_86", "sm_89", "sm_90"))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each cell, schedule and dtype, with what is wrong; 1 where anything is, or has an
    instruction that the emulator does not know, or nothing ran."""
    given = parsed(arguments)
    text = given.file.read_text(encoding="utf-8")
    shared = {"sizes": dict(given.size), "tiles": dict(given.tile) or None} | {n: getattr(given, n) for n in ("batch", "steps", "target", "noise", "seed")}
    wrong, ran = 0, 0
    for cell in given.cell or re.findall(r"^cell (\w+)", text, re.M):
        if not kernels_run(text, cell, "triton"):
            refused = getattr(rnndsl.load(text), cell)._kernels["triton"].refused
            print(f"{cell}: no kernels: {'; '.join(refused.values())}")
            continue
        for schedule in given.schedule or TILES:
            for dtype in given.dtype or ("float32", "float64"):
                try:
                    launches, found = compared(Run(text, cell, schedule, DTYPES[dtype], **shared))
                except Unknown as error:
                    print(f"{cell}, {schedule}, {dtype}: not run: {error}")
                    wrong += 1
                    continue
                faults, worst = wrong_in(launches, found), max(found, key=lambda off: off.share)
                counts = launches.counts()
                print(f"{cell}, {schedule}, {dtype}: {'WRONG' if faults else 'right'}; {counts['launches']} launches, {counts.get('barriers', 0)} barriers; {worst}")
                print("".join(f"  {fault}\n" for fault in faults), end="", flush=True)
                wrong, ran = wrong + bool(faults), ran + 1
    return int(wrong > 0 or ran == 0)


if __name__ == "__main__":
    sys.exit(main())
