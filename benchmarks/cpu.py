"""Times a fixed table of cells on the CPU with the code of `rnndsl bench`: our kernels, the PyTorch loop, torch.nn, pararnn-torch.

    python benchmarks/cpu.py                        prints the table and writes benchmarks/results/cpu-<processor>.json
    python benchmarks/cpu.py --parallel             cells whose channels meet, in each schedule; writes parallel-<processor>.json
    python benchmarks/cpu.py --march x86-64-v3      the same table with kernels for that instruction set; writes cpu-<processor>-<march>.json
    python benchmarks/cpu.py --only gru             the rows whose name has `gru` in it; writes nothing

pararnn-torch is measured where it is installed (pip install pararnn-torch); without it, those columns stay empty.
"""

import argparse
import json
import os
import re
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from torch import nn  # noqa: E402

from rnndsl import api, compiler  # noqa: E402
from rnndsl.cli.progress import Progress  # noqa: E402
from rnndsl.runtime import compilers  # noqa: E402
from rnndsl.tools.bench.candidates import Call, Candidate, Task, forward  # noqa: E402
from rnndsl.tools.bench.machine import machine, processor  # noqa: E402
from rnndsl.tools.bench.report import data, percent_text, seconds_text, times_text  # noqa: E402
from rnndsl.tools.bench.run import Group, Maker, Result, describe, run  # noqa: E402
from rnndsl.tools.bench.settings import Settings  # noqa: E402
from rnndsl.tools.bench.subject import Subject  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
EXAMPLES, HERE = ROOT / "examples", Path(__file__).resolve().parent
COLUMNS = ("loop", "pararnn", "nn", "nn.GRUCell", "nn.LSTMCell")


class _CellOfTorch(Candidate):
    """A cell of torch.nn of the same sizes, its input product included: what a user would decode with."""

    kind: type[nn.GRUCell] | type[nn.LSTMCell]
    states: int

    def __init__(self, subject: Subject):
        self.subject = subject
        self.cell = self.kind(subject.layer._sizes["D"], subject.layer._sizes["H"])

    def step(self, task: Task) -> Call:
        (x,) = self.subject.step_inputs(task.batch)
        states = tuple(x.new_zeros(task.batch, self.cell.hidden_size) for _ in range(self.states))
        state = states if self.states > 1 else states[0]
        return forward(lambda: self.cell(x, state))


class GRUStep(_CellOfTorch):
    """A dense cell, beside others that are not."""

    name, kind, states = "nn.GRUCell", nn.GRUCell, 1
    note = "a dense GRU of the same sizes"


class LSTMStep(_CellOfTorch):
    name, kind, states = "nn.LSTMCell", nn.LSTMCell, 2
    note = "the same cell, with weights of its own"


@dataclass(frozen=True)
class Case:
    """A row, or several, of the table."""

    name: str
    program: Path
    settings: Settings
    others: tuple[Maker, ...] = ()


def diagonal(name: str, program: Path) -> Case:
    sequence = Settings(4, 1024, {"D": 64, "H": 256}, against=("loop", "pararnn"), backends=("cpu",), scopes=("recurrence", "layer"))
    return Case(name, program, sequence)


def dense(name: str, program: Path, batch: int, size: int) -> Case:
    """A cell that torch.nn has too; large ones take seconds, and are measured a few times, without the loop."""
    large = batch * size > 16 * 512
    against = ("nn",) if large else ("loop", "nn")
    sequence = Settings(batch, 256, {"D": size, "H": size}, against=against, backends=("cpu",), scopes=("layer",), repeats=5 if large else None)
    return Case(f"{name}-{size}-b{batch}", program, sequence)


def matrices(name: str, **sizes: int) -> Case:
    sequence = Settings(4, 512, {"D": 64, "N": 4, "K": 32, "V": 32, **sizes}, against=("loop",), backends=("cpu",), scopes=("layer",))
    return Case(name.replace("_", "-"), ZOO / f"{name}.rnn", sequence)


def one_step(name: str, program: Path, against: tuple[str, ...], others: tuple[Maker, ...], **sizes: int) -> Case:
    settings = Settings(1, 1, {"D": 64, **sizes}, against=against, backends=("cpu",), scopes=("step",))
    return Case(f"{name}-step", program, settings, others)


def schedules(name: str, program: Path, batch: int, steps: int, **sizes: int) -> Case:
    """Every schedule that a cell has on a CPU."""
    settings = Settings(batch, steps, {"D": 64, **sizes}, against=("loop",), backends=("cpu", "torch"), scopes=("layer",))
    return Case("-".join([name, *(f"{n}{v}" for n, v in sizes.items())]).lower(), program, settings)


ZOO = EXAMPLES / "zoo"
CASES = [
    diagonal("para-gru", EXAMPLES / "para_gru.rnn"),
    diagonal("para-lstm", EXAMPLES / "para_lstm.rnn"),
    diagonal("slstm-diagonal", HERE / "slstm_diagonal.rnn"),
    *(dense(name, EXAMPLES / f"{name}.rnn", batch, size) for name in ("gru", "lstm") for size in (128, 512) for batch in (1, 16, 64)),
    matrices("gated_delta_net"),
    matrices("gla", M=64),
    Case("mamba", ZOO / "mamba.rnn", Settings(4, 512, {"H": 128, "K": 16, "M": 8}, against=("loop",), backends=("cpu",), scopes=("layer",))),
    one_step("para-gru", EXAMPLES / "para_gru.rnn", ("loop", "pararnn"), (GRUStep,), H=256),
    one_step("lstm", EXAMPLES / "lstm.rnn", ("loop",), (LSTMStep,), H=256),
    one_step("gated-delta-net", ZOO / "gated_delta_net.rnn", ("loop",), (), N=4, K=32, V=32),
]

PARALLEL = [
    *(schedules(n, EXAMPLES / f"{n}.rnn", 1, 4096, H=size) for n in ("gru", "lstm") for size in (32, 64, 256)),
    *(schedules(n, ZOO / f"{n}.rnn", 4, 2048, N=4, K=32, V=32) for n in ("gated_delta_net", "gla", "mlstm", "rwkv7")),
]


def build_for(march: str) -> None:
    """Lets kernels be built for an instruction set, by the compiler that would be taken anyway."""
    found = compilers.compiler()
    if found is None:
        raise SystemExit(str(compilers.NoCompiler()))
    os.environ["RNNDSL_CXX"] = shlex.join([*(word for word in found.command if not word.startswith(("-march=", "-mcpu="))), f"-march={march}"])


def measured(case: Case, repeats: int | None, threads: int | None) -> Result:
    """A case's result."""
    source = api.read_source(case.program)
    (cell,) = compiler.compiled(source).program.cells
    layer_class = getattr(api.load(source.text, source.name), cell.name)
    settings = replace(case.settings, repeats=repeats or case.settings.repeats, threads=threads)
    progress = Progress()
    try:
        return run(source.name, cell, layer_class, settings, progress, case.others)
    finally:
        progress.clear()


def rows(result: Result) -> list[list[str]]:
    """A row a task: ours, then each of the others with how many times longer it takes."""
    (point,) = result.points
    sizes = ", ".join(f"{k}={v}" for k, v in {"B": point.batch, "T": point.steps, **point.sizes}.items())
    return [[f"{result.cell}, {describe(g.task)}", sizes, *_cells(g)] for g in point.groups if g.measured()]


def _cells(group: Group) -> list[str]:
    ours = next((e for e in group.measured() if e.ours), None)
    found = [seconds_text(ours.timing.median) if ours else "-", percent_text(group.of_bound(ours)) if ours else "-"]
    for name in COLUMNS:
        other = group.entries.get(name)
        if other is None or not other.timing.seconds:
            found.append("-")
            continue
        ratio = f" ({times_text(other.timing.median / ours.timing.median)})" if ours else ""
        found.append(seconds_text(other.timing.median) + ratio)
    return found


def markdown(results: list[Result]) -> str:
    """The table: medians; in brackets, how many times longer than ours."""
    head = ["cell, task", "sizes", "rnndsl", "of the bound", "PyTorch loop", "pararnn-torch", "torch.nn", "torch.nn.GRUCell", "torch.nn.LSTMCell"]
    lines = [head, ["---"] * len(head), *(row for r in results for row in rows(r))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_schedule(results: list[Result]) -> str:
    """A table a task: medians; in brackets, how many times faster than the loop."""
    lines = []
    for result in results:
        (point,) = result.points
        for group in point.groups:
            times = [f"{e.name} {seconds_text(e.timing.median)} ({times_text(group.ratio(e) or 0.0)})" for e in group.measured()]
            lines.append(f"{result.cell}, {point.sizes}, {describe(group.task)}: {', '.join(times)}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", action="store_true", help="cells whose channels meet, in each schedule that they have")
    parser.add_argument("--only", metavar="NAME", help=f"of {', '.join(c.name for c in CASES)}; with --parallel of {', '.join(c.name for c in PARALLEL)}")
    parser.add_argument("--repeats", type=int, help="rounds (default: up to 20, fewer where they are slow)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch and of the kernels")
    parser.add_argument("--march", metavar="NAME", help="build the kernels for this instruction set instead of that of the CPU at hand, as gcc calls it")
    options = parser.parse_args()
    if options.march:
        build_for(options.march)
    table, kind = (PARALLEL, "parallel") if options.parallel else (CASES, "cpu")
    cases = [c for c in table if options.only is None or options.only in c.name]
    if not cases:
        parser.error(f"--only {options.only}: there is {', '.join(c.name for c in table)}")
    found: dict[str, Result] = {}
    for case in cases:
        found[case.name] = measured(case, options.repeats, options.threads)
        if found[case.name].interrupted:
            break
    print(by_schedule(list(found.values())) if options.parallel else markdown(list(found.values())))
    for name, result in found.items():
        for reason in {f"{who}: {why}" for p in result.points for g in p.groups for who, why in g.absent.items()}:
            print(f"{name}, not measured: {reason}", file=sys.stderr)
    if options.only is None and len(found) == len(table) and not any(r.interrupted for r in found.values()):
        where = "-".join([processor(), *([options.march] if options.march else [])])
        out = RESULTS / f"{kind}-{re.sub(r'[^a-z0-9]+', '-', where.lower()).strip('-')}.json"
        out.parent.mkdir(exist_ok=True)
        out.write_text(json.dumps({"machine": machine() | ({"march": options.march} if options.march else {}), "cases": {k: data(v) for k, v in found.items()}}, indent=1) + "\n")
        print(f"wrote {out.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
