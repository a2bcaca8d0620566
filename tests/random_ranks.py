"""Random cells over 2, 3 and 4 ranks against one process, in float64: outputs, states, all gradients, and a second call from the state that the first one left.

`python -m tests.random_ranks --seed 1 --count 50 --backend cpu` says of each program what differs. Shards are of any lengths, many without steps; resets stand on
their borders. Programs are those of `random_programs`, and of `random_affine` with `--affine`; ranks are forked from the process that has built the kernels.
"""

import argparse
import datetime
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import rnndsl
from rnndsl.runtime.ranks import repeats
from rnndsl.runtime.ranks.choice import EXACT
from tests import random_affine, random_programs
from tests.agreement import Case, layer_of, random_inputs, well_conditioned
from tests.many_ranks import differ, results

RANKS, BATCH, STEPS, CALLS = 4, 3, 11, 4
PATIENCE = 120  # seconds for the ranks of a program


@dataclass(frozen=True)
class Division:
    """How a call is divided. cuts: where shards begin and end."""

    size: int
    cuts: tuple[int, ...]
    way: str
    final: str
    has_resets: bool

    @staticmethod
    def drawn(draws: random.Random) -> "Division":
        size = draws.choice((2, 3, 4))
        cuts = sorted(draws.choice((0, 1, STEPS)) if draws.random() < 0.3 else draws.randint(1, STEPS - 1) for _ in range(size - 1))
        return Division(size, (0, *cuts, STEPS), draws.choice(("pipeline", "rounds", "rounds", "repeats", "auto")), draws.choice(("last", "all")), draws.random() < 0.6)

    @property
    def reset(self) -> torch.Tensor | None:
        if not self.has_resets:
            return None
        found = torch.rand(BATCH, STEPS, generator=torch.Generator().manual_seed(11)) < 0.15
        found[0, [c for c in self.cuts if c < STEPS]] = True
        return found


def judge(seed: int, backend: str, is_affine: bool) -> list[str]:
    """What differs for the program of a number; nothing also where its numbers are not well conditioned, or the backend has no kernels for it."""
    cell = (random_affine if is_affine else random_programs).program(seed)
    layer = layer_of(cell.text, "Random", cell.sizes, backend=backend)
    if not well_conditioned(Case(cell.text, "Random", cell.sizes, BATCH, STEPS, seed)) or (backend != "reference" and not type(layer)._kernels[backend].kernels):
        return []
    inputs = [x.detach() for x in random_inputs(layer, BATCH, STEPS, seed)]
    begin = [s.detach() + (0.1 if s.is_floating_point() or s.is_complex() else 2) for s in layer.initial_state(BATCH)]
    draws = random.Random(seed)
    calls: list[tuple[Any, ...]] = []
    for division in (Division.drawn(draws) for _ in range(CALLS)):
        first = results(layer, inputs, begin, division.reset, 0, STEPS)
        calls.append((division, first, results(layer, inputs, [s.detach() for s in first[1]], division.reset, 0, STEPS)))
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(RANKS):
            children.append(os.fork())
            if children[-1] == 0:
                signal.alarm(PATIENCE)
                try:
                    _compared(Path(folder), rank, layer, inputs, begin, calls)
                finally:
                    os._exit(0)
        codes = [os.waitpid(child, 0)[1] for child in children]
        return [f"a rank ended with {c}" for c in codes if c] + [p.read_text() for p in sorted(Path(folder).glob("wrong*"))]


def _compared(folder: Path, rank: int, layer: Any, inputs: list, begin: list, calls: list) -> None:
    """What a rank does; it writes down what differs."""
    repeats.STEPS = 1  # so that short shards have pieces
    patience = datetime.timedelta(seconds=PATIENCE)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=RANKS, timeout=patience)
    groups = {n: dist.new_group(list(range(n)), timeout=patience) for n in (2, 3, 4)}
    bound = 1e-10 if all(family in EXACT for family, *_ in layer._found.values()) else 1e-9
    for number, (division, *wanted) in enumerate(calls):
        if rank < division.size:
            try:
                low, high = division.cuts[rank : rank + 2]
                shards, state, errors = rnndsl.Shards(groups[division.size], division.final, way=division.way), begin, {}
                for when, (outputs, final, of_inputs, of_state, of_params) in zip(("", "again, "), wanted, strict=True):
                    found = results(layer, inputs, state, division.reset, low, high, group=shards)
                    errors[f"{when}outputs"] = differ(found[0], [o[:, low:high] for o in outputs])
                    errors[f"{when}state"] = 0.0 if found[1] is None else differ(found[1], final)
                    errors[f"{when}inputs"] = differ([g[:, low:high] for g in found[2]], [g[:, low:high] for g in of_inputs])
                    errors[f"{when}initial"] = differ(found[3], [g if rank == 0 else torch.zeros_like(g) for g in of_state])
                    errors[f"{when}params"] = differ(found[4], of_params)
                    if division.final == "last":
                        break
                    state = [s.detach() for s in found[1]]
                wrong = {what: error for what, error in errors.items() if not error < bound}
                text = f"{division}, rank {rank}: {wrong}" if wrong else ""
            except Exception:
                text = f"{division}, rank {rank}: {traceback.format_exc()}"
            if text:
                (folder / f"wrong {number} {rank}").write_text(text)
        dist.barrier()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the first program's number")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--backend", default="reference", choices=("reference", "cpu"))
    parser.add_argument("--affine", action="store_true", help="programs of affine matrix states")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    faults = 0
    for seed in range(given.seed, given.seed + given.count):
        wrong = judge(seed, given.backend, given.affine)
        faults += bool(wrong)
        print(f"{seed}: {'wrong' if wrong else 'fine'}", *wrong, sep="\n  ", flush=True)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
