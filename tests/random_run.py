"""Compares many random programs with the oracle, on every backend, and sums up what failed by kind.

Each program runs in a process of its own, with a limit of time, so that a crash or a hang is one more kind of failure. Of each kind the
smallest program is made smaller still, and printed.
"""

import argparse
import contextlib
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# Before anything imports triton: without a GPU its kernels run in its interpreter.
os.environ.setdefault("TRITON_INTERPRET", "1")

import torch

import rnndsl
from tests.agreement import Case, assert_agrees, runs, well_conditioned
from tests.minimise import minimised
from tests.random_programs import RandomCell, program

BACKENDS = ("reference", "cpu", "triton", "torch")
TOLERANCE = 1e-8
FAULT, FINE, UNTAME, UNABLE = "fault", "fine", "not well conditioned", "no kernels"


@dataclass(frozen=True)
class Outcome:
    """What came of a program on a backend; `kind` is the same for faults that are probably one."""

    backend: str
    result: str
    kind: str = ""
    message: str = ""


@dataclass
class Found:
    """The faults of one kind."""

    count: int = 0
    smallest: RandomCell | None = None
    seed: int = 0
    message: str = ""
    seeds: list[int] = field(default_factory=list)


def judge(cell: RandomCell, backend: str, seed: int) -> Outcome:
    """Compares one program on one backend with the oracle."""
    case = Case(cell.text, "Random", cell.sizes, cell.batch, cell.steps, seed, backend)
    try:
        tame = _tame(cell, seed)
        if backend != "reference":
            cls = rnndsl.load(cell.text).Random
            kernels = cls._kernels[backend]
            if not kernels.kernels or kernels.refused:
                return Outcome(backend, UNABLE)
        if not tame:
            runs(case)
            return Outcome(backend, UNTAME)
        assert_agrees(case, TOLERANCE)
        return Outcome(backend, FINE)
    except Exception as e:  # a fault of any kind is what is looked for
        return Outcome(backend, FAULT, kind_of(e, backend), "".join(traceback.format_exception(e, limit=-4))[-3000:])


_tamed: dict[tuple[str, int], bool] = {}


def _tame(cell: RandomCell, seed: int) -> bool:
    """Whether its numbers are well conditioned; found out once for all backends."""
    if (cell.text, seed) not in _tamed:
        _tamed[cell.text, seed] = well_conditioned(Case(cell.text, "Random", cell.sizes, cell.batch, cell.steps, seed))
    return _tamed[cell.text, seed]


def kind_of(e: Exception, backend: str) -> str:
    """A name for the kind of a fault: where it was raised and what was said, without the program's own names and numbers."""
    frames = [f for f in traceback.extract_tb(e.__traceback__) if "/rnndsl/" in f.filename or "<" in f.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    text = str(e)
    if isinstance(e, AssertionError) and "off by" in text:
        words = text.split(":")[0]
        return f"{backend}: wrong {re.sub(r' (of )?[^ ]+$', '', words) if ' ' in words else words}"
    if "error:" in text:  # the compiler's
        text = text.split("error:", 1)[1].splitlines()[0]
        where = ""
    text = re.sub(r"[‘'`\"][^’'`\"]*[’'`\"]", "…", text.splitlines()[0] if text else "")
    text = re.sub(r"-?\d[\d.e+-]*", "#", text)[:90]
    return f"{backend}: {type(e).__name__} {where} {text}"


def apart(cell: RandomCell, backends: tuple[str, ...], seed: int, seconds: float) -> list[Outcome]:
    """The outcomes of a program, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            os.setpgid(0, 0)
            signal.alarm(int(seconds))
            warnings.simplefilter("ignore")
            with os.fdopen(write, "wb") as pipe, open(os.devnull, "w") as nothing:
                os.dup2(nothing.fileno(), 2)
                os.dup2(nothing.fileno(), 1)
                for backend in backends:
                    pickle.dump(judge(cell, backend, seed), pipe)
                    pipe.flush()
        finally:
            os._exit(0)
    os.close(write)
    found: list[Outcome] = []
    with os.fdopen(read, "rb") as pipe, contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            found.append(pickle.load(pipe))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it left running
    if os.WIFSIGNALED(status):
        backend = backends[len(found)] if len(found) < len(backends) else backends[-1]
        name = signal.Signals(os.WTERMSIG(status)).name
        found.append(Outcome(backend, FAULT, f"{backend}: {'took too long' if name == 'SIGALRM' else 'died of ' + name}"))
    return found


def smaller(cell: RandomCell, kind: str, seed: int, seconds: float, limit: float) -> RandomCell:
    """The program made smaller while it fails in the same way."""
    backend = kind.split(":")[0]

    def fails(text: str) -> bool:
        header = text[text.index("cell Random") :].split(")", 1)[0]
        sizes = {n: s for n, s in cell.sizes.items() if re.search(rf"\b{re.escape(n)}\b", header)}
        tried = RandomCell(text, sizes, cell.batch, cell.steps)
        return any(o.kind == kind for o in apart(tried, (backend,), seed, limit))

    text = minimised(cell.text, fails, seconds)
    return RandomCell(text, cell.sizes, cell.batch, cell.steps)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first program's number")
    parser.add_argument("--count", type=int, default=100, help="how many programs")
    parser.add_argument("--backends", default=",".join(BACKENDS), help=f"some of {', '.join(BACKENDS)}")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one program")
    parser.add_argument("--minimise", type=float, default=60.0, help="seconds for making the program of one kind smaller; 0 for as it is")
    parser.add_argument("--longest", type=float, default=1e9, help="seconds after which no further program is begun")
    parser.add_argument("--slow-compiler", action="store_true", help="optimise C++ as users have it, and not for less time of the compiler")
    parser.add_argument("--out", type=Path, help="a folder for the smallest program of each kind")
    arguments = parser.parse_args()
    backends = tuple(arguments.backends.split(","))
    torch.set_num_threads(1)
    cache = tempfile.mkdtemp(prefix="random-programs-")
    os.environ["RNNDSL_CACHE"] = cache
    if not arguments.slow_compiler:
        os.environ["RNNDSL_CXX"] = "g++ -O1"
    warm = RandomCell("cell Random(D):\n  input x: [D]\n  state h: [D]\n  h[t] = tanh(0.5 * h[t-1] + x)\n  output h\n", {"D": 2})
    for backend in backends:  # what is imported here, no child imports again
        judge(warm, backend, 0)
    results: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, Found] = {}
    begun, programs, failing = time.monotonic(), 0, 0
    try:
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            if time.monotonic() - begun > arguments.longest:
                break
            cell = program(seed)
            programs += 1
            outcomes = apart(cell, backends, seed, arguments.timeout)
            failing += any(o.result == FAULT for o in outcomes)
            for o in outcomes:
                results[o.backend, o.result] += 1
                if o.result == FAULT:
                    found = kinds.setdefault(o.kind, Found())
                    print(f"{seed}: {o.kind}", flush=True)
                    found.count += 1
                    found.seeds.append(seed)
                    if found.smallest is None or len(cell.text) < len(found.smallest.text):
                        found.smallest, found.seed, found.message = cell, seed, o.message
            if programs % 50 == 0:
                for entry in Path(cache).glob("*/"):
                    shutil.rmtree(entry, ignore_errors=True)
        print(f"\n{programs} programs from {arguments.seed} in {time.monotonic() - begun:.0f} s, {failing} with a fault")
        for backend in backends:
            print(f"  {backend}: " + ", ".join(f"{results[backend, r]} {r}" for r in (FINE, UNTAME, UNABLE, FAULT)))
        for kind, found in sorted(kinds.items(), key=lambda k: -k[1].count):
            assert found.smallest is not None
            cell = found.smallest
            if arguments.minimise:
                cell = smaller(cell, kind, found.seed, arguments.minimise, arguments.timeout)
            print(f"\n== {found.count} x {kind}\nseeds {found.seeds[:12]}, this is {found.seed}, sizes {cell.sizes}, B = {cell.batch}, T = {cell.steps}\n{cell.text}{found.message}", flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                name = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")[:60]
                (arguments.out / f"{name}.rnn").write_text(f"# {kind}; {found.count} of {programs}; sizes {cell.sizes}, B = {cell.batch}, T = {cell.steps}, seed {found.seed}\n{cell.text}")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
