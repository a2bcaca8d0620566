"""What compute-sanitizer says of kernels, where it is installed: accesses outside of what was allocated, races in shared memory."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from on_gpu.device import Gpu
from on_gpu.record import Record, Row

TOOLS = {"memcheck": ("--report-api-errors", "no"), "racecheck": ()}
LIMIT = 45.0  # seconds of a tool
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, torch, rnndsl
device = sys.argv[1]
for file, cell in (("para_gru", "ParaGRU"), ("min_gru", "MinGRU")):
    for schedule in ("sequential", "newton"):  # two kernels each, one a direction
        layer = getattr(rnndsl.load(f"examples/{file}.rnn"), cell)(D=3, H=37, device=device, backend="triton", schedule=schedule)
        x = torch.randn(3, 70, 3, device=device, requires_grad=True)
        reset = torch.zeros(3, 70, dtype=torch.bool, device=device)
        reset[:, 50] = True
        layer(x, reset=reset)[0].sum().backward()
        print("ran", cell, schedule, float(x.grad.abs().max()), flush=True)
"""


def rows(tool: str, machine: Gpu, record: Record) -> Iterator[Row]:
    """One row: what ran, how many errors were found, and what was said last; a note that it is left out where there is no sanitizer."""
    command = shutil.which("compute-sanitizer")
    if command is None:
        record.leave_out("sanitizer", tool, "compute-sanitizer is not on the path")
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # every tensor an allocation of its own
    if machine.kind != "cuda":
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        [command, "--tool", tool, *TOOLS[tool], "--error-exitcode", "9", sys.executable, "-c", PROGRAM, machine.device.type],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT - 5,
    )  # fmt: skip
    said = done.stdout + done.stderr
    found = re.search(r"(?:ERROR SUMMARY: |RACECHECK SUMMARY: )(\d+)", said)
    last = [line for line in said.strip().splitlines() if line.strip()][-1:]
    yield {
        "tool": tool, "status": done.returncode, "ran": done.stdout.count("ran "), "of": 4, "errors": int(found[1]) if found else None,
        "last": last[0][:200] if last else "",
    }  # fmt: skip
