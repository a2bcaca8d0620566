"""Processes of gloo on this machine, which check layers over ranks; each check is a function of this file. One start serves all checks of a test file."""

import datetime
import inspect
import os
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import rnndsl

SIZE = 4
SECONDS = 60

LAGS = """
cell Lags(D, H):
  input x: [D]
  state h, g, c: [H]
  state q, never: [H] = q0
  param q0: [H]
  param W, V: [H, D]
  param a: [H]
  noise m: [H] ~ bernoulli(0.9) once
  q[t] = tanh(W @ x[t-2])
  never[t] = W @ x
  h[t] = m * tanh(W @ x + V @ x[t-1] + a * h[t-1] + 0.1 * h[t-3] + q[t-1] + 0.01 * t)
  c[t] = 0.5 * c[t-1] + h[t] * g[t-2]
  g[t] = h[t] * h[t-1] + c[t]
  output h, g, c
"""


def layer_of(name: str, **further):
    """A layer of a published cell, or of the one of this file, in float64, sizes of 3."""
    torch.manual_seed(3)
    cls = rnndsl.load(LAGS).Lags if name == "Lags" else getattr(rnndsl.zoo, name)
    sizes = [k for k, p in inspect.signature(cls).parameters.items() if p.default is p.empty]
    return cls(**dict.fromkeys(sizes, 3), dtype=torch.float64, **further).eval()


def cuts_of(steps: int, size: int, kind: str) -> list[int]:
    """Where shards begin and end: even, all but one of one step or none, and none on the first rank."""
    if kind == "even":
        return [r * steps // size for r in range(size + 1)]
    if kind == "short":
        return [0, 1, *([2] * (size - 2)), steps] if size > 2 else [0, 1, steps]
    return [0, 0, *([3] * (size - 2)), steps] if size > 2 else [0, 0, steps]


def results(layer, inputs, state, reset, low, high, **named):
    """Outputs, final state, and the gradients of inputs, state and params of some steps."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    state = [s.clone().requires_grad_() if s.is_floating_point() or s.is_complex() else s for s in state]
    layer.zero_grad()
    y, final = layer(*(x[:, low:high] for x in inputs), state=layer.State(*state), reset=None if reset is None else reset[:, low:high], **named)
    outputs = (y,) if layer.Output is None else tuple(y)
    draws = torch.Generator().manual_seed(7)
    weights = [torch.randn(o.shape[0], inputs[0].shape[1], *o.shape[2:], dtype=o.dtype, generator=draws)[:, low:high] for o in outputs]
    loss = sum((o * w.conj()).sum().real for o, w in zip(outputs, weights, strict=True))
    if final is not None:
        loss = loss + sum((f * f.conj()).real.tanh().sum() for f in final if f.is_floating_point() or f.is_complex()) / (dist.get_world_size(named["group"].group) if is_all(named) else 1)
    loss.backward()
    of = lambda tensors: [torch.zeros_like(t) if t.grad is None else t.grad for t in tensors if t.requires_grad]  # noqa: E731
    return outputs, final, of(inputs), of(state), of(layer.parameters())


def is_all(named) -> bool:
    return isinstance(named.get("group"), rnndsl.Shards) and named["group"].final_state == "all"


def differ(found, wanted) -> float:
    """The largest difference, in units of 1 + the largest value."""
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.numel():
            size = b.abs().nan_to_num(0, 0, 0).max() if b.is_floating_point() or b.is_complex() else 0
            worst = max(worst, float((torch.where(a == b, 0, (a - b).abs()).max() / (1 + size)).detach()))
    return worst


def check_equal(group, name: str, bound: float, steps: int = 13, batch: int = 3, **further) -> None:
    """Over ranks a layer gives what it gives in one process: uneven shards, resets, a carried state, outputs and all gradients."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer = layer_of(name, **further)
    draws = torch.Generator().manual_seed(5)
    inputs = [torch.randn(batch, steps, *map(int, shape), dtype=torch.float64, generator=draws) for _, shape, _ in layer._inputs]
    begin = [s.detach() + (0.1 if s.is_floating_point() or s.is_complex() else 2) for s in layer.initial_state(batch)]
    for kind in ("even", "short", "empty"):
        cuts = cuts_of(steps, size, kind)
        resets = torch.rand(batch, steps, generator=draws) < 0.1
        resets[0, [c for c in cuts if c < steps]] = True  # on borders
        for reset in (None, resets):
            low, high = cuts[rank], cuts[rank + 1]
            whole = results(layer, inputs, begin, reset, 0, steps)
            shards = rnndsl.Shards(group, "all") if kind == "short" else group
            outputs, final, of_inputs, of_state, of_params = results(layer, inputs, begin, reset, low, high, group=shards)
            errors = {"outputs": differ(outputs, [o[:, low:high] for o in whole[0]]), "inputs": differ(of_inputs, [torch.cat([torch.zeros_like(g[:, :low]), g[:, low:high], torch.zeros_like(g[:, high:])], 1) for g in whole[2]])}
            assert (final is not None) == (rank == size - 1 or kind == "short")
            if final is not None:
                errors["state"] = differ(final, whole[1])
            errors["initial"] = differ(of_state, [g if rank == 0 else torch.zeros_like(g) for g in whole[3]])
            errors["params"] = differ(of_params, whole[4])
            wrong = {what: error for what, error in errors.items() if not error < bound}
            assert not wrong, (kind, reset is not None, rank, wrong)


def start(rank: int, folder: str, checks: list) -> None:
    """What each process does: all checks, whose errors it writes down."""
    os.environ["RNNDSL_BACKEND"] = "reference"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE, timeout=datetime.timedelta(seconds=SECONDS))
    groups = {n: dist.new_group(list(range(n)), timeout=datetime.timedelta(seconds=SECONDS)) for n in (2, 3, 4)}
    for number, (name, size, arguments) in enumerate(checks):
        if rank < size:
            try:
                globals()[name](groups[size], **arguments)
            except Exception:
                (Path(folder) / f"{number}.{rank}").write_text(traceback.format_exc())
        dist.barrier()
    dist.destroy_process_group()


def run(folder: Path, checks: list) -> list[str]:
    """What went wrong in each check: (name, ranks, arguments)."""
    mp.spawn(start, (str(folder), checks), nprocs=SIZE)
    return ["\n".join(p.read_text() for p in sorted(folder.glob(f"{n}.*"))) for n in range(len(checks))]
