"""A cell under other names beside itself: the same numbers, on every backend.

    python -m tests.renaming [--backend cpu] [--rounds 4] [NAME…]

does so for every cell of examples/ and examples/zoo/, which takes a build of kernels a cell and round; `--backend text` compares what is
generated instead.
"""

import argparse
import re
import sys
import traceback
from pathlib import Path

import torch
from torch import Tensor, nn

from rnndsl.runtime.backend import BACKENDS
from tests import alpha
from tests.agreement import difference, layer_of, random_inputs, sizes_of, some_resets, total
from tests.harvest import assignments, renamed, texts_of

FOLDER = Path(__file__).resolve().parent.parent / "examples"
CELLS = {str(p.relative_to(FOLDER).with_suffix("")): p.read_text(encoding="utf-8") for p in sorted(FOLDER.rglob("*.rnn"))}


def cell_of(text: str) -> str:
    (name,) = re.findall(r"^cell (\w+)", text, re.M)
    return name


def with_names(text: str, names: dict[str, str], backend: str, like: nn.Module | None = None) -> nn.Module:
    """A layer of a cell some of whose names are others, in float64; with the values of another layer, where it is given."""
    cell = cell_of(text)
    sizes = {names.get(n, n): v for n, v in sizes_of(text, cell).items()}
    torch.manual_seed(0)
    layer = layer_of(renamed(text, names), cell, sizes, backend=backend)
    values = like.state_dict().values() if like is not None else [v + 0.3 * torch.randn_like(v) for v in layer.state_dict().values()]
    layer.load_state_dict(dict(zip(layer.state_dict(), values, strict=True)))
    return layer


def numbers(layer: nn.Module, batch: int = 2, steps: int = 5) -> dict[str, Tensor]:
    """Outputs and states from a given state and with resets, all gradients, and single steps with and without gradients."""
    inputs = random_inputs(layer, batch, steps)
    torch.manual_seed(1)
    state = [s + 0.2 * torch.randn_like(s) if s.dtype != torch.int64 else s + 3 for s in layer.initial_state(batch)]
    state = [s.detach().requires_grad_() if s.dtype != torch.int64 else s for s in state]
    found: dict[str, Tensor] = {}
    for kind, reset in (("plain", None), ("reset", some_resets(batch, steps))):
        y, end = layer(*inputs, state=state, reset=reset)
        values = {f"output {i}": v for i, v in enumerate(y if isinstance(y, tuple) else (y,))}
        values |= {f"state {i}": v for i, v in enumerate(end)}
        leaves = [*inputs, *layer.parameters(), *(s for s in state if s.requires_grad)]
        weighed = {n: v for n, v in values.items() if v.dtype != torch.int64}
        grads = torch.autograd.grad(total(weighed, 2), leaves, allow_unused=True, materialize_grads=True)
        found |= {f"{kind}: {n}": v.detach() for n, v in values.items()} | {f"{kind}: gradient {i}": g for i, g in enumerate(grads)}
    for kind in (True, False):
        with torch.set_grad_enabled(kind):
            carried: list[Tensor] | tuple = state
            for t in range(steps):
                y, carried = layer.step(*(x[:, t] for x in inputs), carried)
                found |= {f"step {t}, {kind}: output {i}": v.detach() for i, v in enumerate(y if isinstance(y, tuple) else (y,))}
            found |= {f"steps, {kind}: state {i}": v.detach() for i, v in enumerate(carried)}
    return found


def differences(text: str, names: dict[str, str], backend: str, want: tuple[nn.Module, dict[str, Tensor]] | None = None) -> list[str]:
    """What a cell under other names has other numbers of on a backend than under its own on the reference."""
    like, wanted = want or original(text)
    got = numbers(with_names(text, names, backend, like))
    return [n for n in wanted if difference(got[n], wanted[n]) > 1e-8]


def clashes_of(text: str, names: dict[str, str]) -> list[str]:
    """The functions of what is generated of a cell under other names that are not the same but for these."""
    before, after = texts_of(text), texts_of(renamed(text, names))
    return [c for language in before for c in alpha.clashes(language, before[language], after[language])]


def original(text: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """A cell's layer on the reference, and its numbers."""
    layer = with_names(text, {}, "reference")
    return layer, numbers(layer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", help="cells, as zoo/sru (default: all)")
    parser.add_argument("--backend", default="cpu", choices=("reference", "cpu", "triton", "text"))
    parser.add_argument("--rounds", type=int, default=4, help="ways to rename each cell, at most 4")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = 0
    for number, (name, text) in enumerate(CELLS.items()):
        if options.names and name not in options.names:
            continue
        try:
            want = original(text) if options.backend != "text" else None
            if want and options.backend != "reference" and BACKENDS[options.backend].refusal(want[0]) is not None:
                continue
            given = assignments(text, options.seed)
            for k in range(options.rounds):
                names = given[(number + k) % len(given)]
                bad = differences(text, names, options.backend, want) if want else clashes_of(text, names)
                if bad:
                    wrong += 1
                    print(f"{name}, way {(number + k) % len(given)}: {len(bad)} differ: {', '.join(bad[:6])}", flush=True)
        except Exception:
            wrong += 1
            print(f"{name}:\n{traceback.format_exc(limit=-3)}", flush=True)
    print(f"{wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
