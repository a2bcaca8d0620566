"""Processes of gloo on this machine, which check layers over ranks; each check is a function of this file. One start serves all checks of a test file."""

import copy
import datetime
import functools
import inspect
import multiprocessing
import os
import pickle
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.experimental import context_parallel as torch_context
from torch.nn.utils.rnn import pack_sequence
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import rnndsl
from rnndsl.nn import Block, LanguageModel, Recurrent
from rnndsl.runtime.build import compiler
from rnndsl.runtime.ranks import repeats, units
from rnndsl.runtime.ranks.line import Line
from rnndsl.runtime.ranks.sweeps import Task

SIZE = 4
SECONDS = 120

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
    """A layer of a published cell, or of the one of this file, in float64, sizes of 3 unless they are given."""
    torch.manual_seed(3)
    cls = class_of(name)
    sizes = [k for k, p in inspect.signature(cls).parameters.items() if p.default is p.empty]
    layer = cls(**dict.fromkeys(sizes, 3) | further, dtype=torch.float64).eval()
    if name == "Rotation":  # of which nothing is forgotten
        torch.nn.init.orthogonal_(layer.R)
    return layer


SCALARS = """
cell Plain(D):
  input x: [D]
  input s: []
  state a, b: []
  param w: [D]
  a[t] = tanh(0.9 * a[t-1] + dot(w, x))
  b[t] = 0.5 * b[t-1] + a[t] * s[t-1]
  output a, b
"""

ROTATION = """
cell Rotation(D, H):
  input x: [D]
  state h: [H] = h0
  param h0: [H]
  param W: [H, D]
  param R: [H, H]
  h[t] = R @ h[t-1] + 0.1 * sin(h[t-1]) + W @ x
  output h
"""


OWN = {"Lags": LAGS, "Rotation": ROTATION, "Plain": SCALARS}


@functools.cache
def class_of(name: str):
    """A published cell, or one of this file."""
    return getattr(rnndsl.load(OWN[name]), name) if name in OWN else getattr(rnndsl.zoo, name)


def seeded(seed: int):
    """A layer whose params are of this seed."""
    torch.manual_seed(seed)
    return rnndsl.zoo.Elman(D=3, H=3, dtype=torch.float64).eval()


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
    if loss.requires_grad:
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


def check_equal(group, name: str, bound: float, way: str = "auto", steps: int = 13, batch: int = 3, **further) -> None:
    """Over ranks a layer gives what it gives in one process: uneven shards, resets, a carried state, outputs and all gradients."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer = layer_of(name, **further)
    draws = torch.Generator().manual_seed(5)
    inputs = [torch.randn(batch, steps, *map(int, shape), dtype=torch.float64, generator=draws) for _, shape, _ in layer._inputs]
    begin = [s.detach() + (0.1 if s.is_floating_point() or s.is_complex() else 2) for s in layer.initial_state(batch)]
    kinds = {kind: cuts_of(steps, size, kind) for kind in ("even", "short", "empty")}
    resets = torch.rand(batch, steps, generator=draws) < 0.1
    resets[0, [c for cuts in kinds.values() for c in cuts if c < steps]] = True  # on borders
    for reset in (None, resets):
        whole = results(layer, inputs, begin, reset, 0, steps)
        for kind, cuts in kinds.items():
            low, high = cuts[rank], cuts[rank + 1]
            shards = rnndsl.Shards(group, "all" if kind == "short" else "last", way=way)
            outputs, final, of_inputs, of_state, of_params = results(layer, inputs, begin, reset, low, high, group=shards)
            errors = {"outputs": differ(outputs, [o[:, low:high] for o in whole[0]]), "inputs": differ(of_inputs, [torch.cat([torch.zeros_like(g[:, :low]), g[:, low:high], torch.zeros_like(g[:, high:])], 1) for g in whole[2]])}
            reports = layer.solve_report()
            assert way == "auto" or {r.way for r in reports} == {way}
            assert all(r.rounds < size and r.gap <= 1e-13 for r in reports)
            if name == "Rotation" and reset is None and kind == "even":
                assert all(r.rounds == size - 1 and r.sweeps == size for r in reports)
            assert (final is not None) == (rank == size - 1 or kind == "short")
            if final is not None:
                errors["state"] = differ(final, whole[1])
            errors["initial"] = differ(of_state, [g if rank == 0 else torch.zeros_like(g) for g in whole[3]])
            errors["params"] = differ(of_params, whole[4])
            wrong = {what: error for what, error in errors.items() if not error < bound}
            assert not wrong, (kind, reset is not None, rank, wrong)


def check_forgetting(group) -> None:
    """A cell that soon forgets what it began with is done after one round, of which ranks run the first steps only, and `auto` takes that way from then on;
    in the backward pass, too, little more is run than without ranks."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer = layer_of("GRU")
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.3)
    x = torch.randn(5, 160 * size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    wanted = results(layer, [x], layer.initial_state(5), None, 0, 160 * size)
    low, high = 160 * rank, 160 * rank + 160
    assert {r.way for r in planned_ways(layer, group, x[:, low:high])} == {"pipeline"}
    found = results(layer, [x], layer.initial_state(5), None, low, high, group=rnndsl.Shards(group, way="repeats"))
    assert differ([*found[0], found[2][0][:, low:high], *found[4]], [wanted[0][0][:, low:high], wanted[2][0][:, low:high], *wanted[4]]) < 1e-9
    (report,) = layer.solve_report()
    assert report.rounds == 1 and 1 < report.sweeps < 1.6, report
    assert {r.way for r in planned_ways(layer, group, x[:, low:high])} == {"repeats"}


def planned_ways(layer, group, x):
    """How a call is done if nobody says."""
    with torch.no_grad():
        layer(x, group=group)
    return layer.solve_report()


@contextmanager
def counted():
    """Counts the bytes that this rank hands to torch.distributed."""
    total, own, framed = [0], {name: getattr(dist, name) for name in ("all_gather", "isend", "all_reduce")}, Line._handed_in

    def counting(name):
        def call(*given, **named):
            sent = given[1] if name == "all_gather" else given[0]
            total[0] += sent.numel() * sent.element_size()
            return own[name](*given, **named)

        return call

    def counting_frames(line, frame, what):
        total[0] += frame.numel()
        return framed(line, frame, what)

    try:
        Line._handed_in = counting_frames
        for name in own:
            setattr(dist, name, counting(name))
        yield total
    finally:
        Line._handed_in = framed
        for name, function in own.items():
            setattr(dist, name, function)


def check_bytes(group, name: str, way: str) -> None:
    """What is sent does not grow with the number of steps, and is what the report says, forwards."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer, found = layer_of(name), []
    for steps in (8, 80):
        draws = torch.Generator().manual_seed(5)
        inputs = [torch.randn(2, steps * size, *map(int, shape), dtype=torch.float64, generator=draws) for _, shape, _ in layer._inputs]
        with counted() as total:
            results(layer, inputs, layer.initial_state(2), None, rank * steps, (rank + 1) * steps, group=rnndsl.Shards(group, way=way))
        found.append(total[0])
    assert found[0] == found[1] > sum(r.sent for r in layer.solve_report()) >= 0, found


def check_ways_of_calling(group) -> None:
    """No gradients, the states of all steps, `recompute`, a context, two calls one behind the other, a second backward pass, copies, what is refused."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer = layer_of("ParaLSTM")
    x = torch.randn(2, 4 * size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    part = x[:, 4 * rank : 4 * rank + 4]
    whole, last, every = layer(x, all_states=True)
    for way in ("pipeline", "rounds", "repeats"):
        shards = rnndsl.Shards(group, "all", way=way)
        with torch.no_grad():
            y, state, states = layer(part, group=shards, all_states=True)
        assert differ([y, *state, states["c"]], [whole[:, 4 * rank : 4 * rank + 4], *last, every["c"][:, 4 * rank : 4 * rank + 4]]) < 1e-10
        again, _ = layer(part, state=state, group=shards)
        assert differ([again], [layer(x, state=last)[0][:, 4 * rank : 4 * rank + 4]]) < 1e-10
        gradients = []
        for recompute in (False, True):
            layer.recompute = recompute
            layer.zero_grad()
            with rnndsl.context_parallel(group, way=way):
                y, _ = layer(part)
            y.square().sum().backward(retain_graph=not recompute)
            gradients.append([p.grad.clone() for p in layer.parameters()])
            if not recompute:
                layer.zero_grad()
                y.square().sum().backward()
                gradients.append([p.grad.clone() for p in layer.parameters()])
        layer.recompute = False
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):  # a shard is run anew by the backward pass
            y, _ = layer(part, group=shards)
        said = layer.solve_report()
        y.square().sum().backward()
        assert layer.solve_report() == said and said[0].way == way
        assert all(torch.equal(a, b) for other in gradients[1:] for a, b in zip(gradients[0], other, strict=True))
        for is_alone in (False, True):  # of all ranks, or of one, of which the others hear
            with raises(RuntimeError, "no second derivatives" if not is_alone or rank == 1 else "rank 1 has failed"):
                torch.autograd.grad(layer(part, group=shards)[0].square().sum(), layer.W_f, create_graph=not is_alone or rank == 1)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    with rnndsl.context_parallel(group):
        assert differ([copied(part)[0]], [whole[:, 4 * rank : 4 * rank + 4]]) < 1e-10
        with raises(ValueError, "step: it runs in one process"):
            layer.step(part[:, 0])
    for transformed in (torch.func.grad(lambda x: layer(x, group=group)[0].sum()), torch.func.vmap(lambda x: layer(x.unsqueeze(0), group=group)[0])):
        with raises(TypeError, "over ranks"):
            transformed(part)
    if compiler() is not None:  # outputs that kernels read backwards, changed before that
        layer.backend = "cpu"
        y, _ = layer(part, group=rnndsl.Shards(group, way="rounds"))
        loss = (y * 2).square().sum()
        y.detach().zero_()
        with raises(rnndsl.RankError if rank == 0 else RuntimeError, "has failed" if rank == 0 else "modified by an inplace operation"):  # rank 0 waits for the others first
            loss.backward()


def check_disagreements(group) -> None:
    """Ranks that do not fit one another say so, all of them, and the next call is right."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    layer = layer_of("MinGRU")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    odd = rank == size - 1
    wrong = torch.arange(5) + 5 * (size - 1 - rank)
    zigzag = torch.tensor([0, 1, 2, 8, 9]) if odd else torch.arange(5) + 5 * rank
    with_state = {"state": (x,)} if odd else {}
    mesh = DeviceMesh.from_group(group, "cpu")
    cases = [
        ("batch is 2 on rank 0, and 1 on rank", layer, x[:1] if odd else x, {}),
        ("program is", layer_of("ParaGRU") if odd else layer, x, {}),
        ("dtype is", layer_of("MinGRU").float() if odd else layer, x.float() if odd else x, {}),
        ("training is", layer_of("MinGRU").train(odd), x, {}),
        ("wrong order of shards", layer, x, {"group": rnndsl.Shards(group, positions=wrong)}),
        ("zigzag", layer, x, {"group": rnndsl.Shards(group, positions=zigzag)}),
        ("state.h", layer, x, with_state),
        ("W has other values on rank", seeded(rank), x, {}),
        ("shared by Shard(1)", layer, DTensor.from_local(x, mesh, [Replicate()]), {}),
    ]
    for message, own, given, named in cases:
        with raises(ValueError if (odd and named is with_state) or isinstance(given, DTensor) else rnndsl.RankError, message):
            own(given, **{"group": group, **named})
    layer(x, group=rnndsl.Shards(group, positions=torch.arange(5) + 5 * rank))
    y, _ = layer(x, group=group)
    placed = DTensor.from_local(x, mesh, [Shard(1)])
    assert torch.equal(layer(placed, group=group)[0], y)
    for own, named in ((layer, {}), (Recurrent(rnndsl.zoo.Elman, {"D": 3, "H": 3}, dtype=torch.float64), {"group": group})):
        with raises(TypeError, "a plain tensor"):
            own(placed, **named)
    for steps, is_wrong in ((4 * size, True), (3 * size, False)):  # of an odd number for each rank, torch gives one piece
        whole = torch.randn(2, steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        wanted, part = layer(whole)[0], whole.clone()
        with torch_context(mesh, buffers=[part], buffer_seq_dims=[1]):
            if is_wrong:
                with raises(ValueError, "from each end"):
                    layer(part, group=group)
            else:
                assert differ([layer(part, group=group)[0]], [wanted[:, 3 * rank : 3 * rank + 3]]) < 1e-10
    with raises(ValueError, "way"):
        rnndsl.Shards(group, way="other")
    with raises(TypeError, "group"):
        layer(x, group=3)


def check_errors(group) -> None:
    """An error on one rank, in the middle of something: the others hear of it long before the timeout, and the next call of all is right."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    odd = rank == 1
    layer, stack = layer_of("MinGRU"), Recurrent(rnndsl.zoo.Elman, {"D": 3, "H": 3}, dtype=torch.float64)
    whole = torch.randn(2, 4 * size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    wanted, x = layer(whole)[0][:, 4 * rank : 4 * rank + 4].detach(), whole[:, 4 * rank : 4 * rank + 4].clone()

    def backward(way: str) -> None:
        y, _ = layer(x.clone().requires_grad_(), group=rnndsl.Shards(group, way=way))
        if odd:
            y.register_hook(fails)
        stack(y, group=group)[0].sum().backward()

    def context() -> None:
        with rnndsl.context_parallel(group):
            y, _ = layer(x)
            if odd:
                fails()
            layer(y)

    def stacks() -> None:
        stack(x, group=group, **({"reset": x} if odd else {}))

    def elsewhere() -> None:
        y, _ = layer(x.clone().requires_grad_(), group=rnndsl.Shards(group, way="pipeline"))
        if odd:
            layer(x, group=group)
        y.sum().backward()

    begin = time.monotonic()
    cases = [(functools.partial(backward, way), KeyError, "its backward pass raised") for way in ("pipeline", "rounds", "repeats")]
    cases += [(context, KeyError, "KeyError: 'of its own'"), (stacks, (TypeError, ValueError), "rank 1 has failed"), (elsewhere, rnndsl.RankError, "is elsewhere")]
    for run, kind, message in cases:
        with raises(kind if odd else rnndsl.RankError, "" if odd else message):
            run()
        assert differ([layer(x, group=group)[0]], [wanted]) < 1e-10
    with raises(KeyError), rnndsl.context_parallel(group):  # on all ranks
        fails()
    assert differ([layer(x, group=group)[0]], [wanted]) < 1e-10
    assert time.monotonic() - begin < SECONDS / 2


def check_work(group) -> None:
    """No rank runs more of its shard than need be: rank 0 once, and only a rank in between finds a map, of an affine cell one for both directions."""
    rank, x = dist.get_rank(group), torch.randn(1, 5, 3, dtype=torch.float64)
    for name, wanted in (("MinGRU", [(1, 0), (2, 1), (2, 0)]), ("ParaGRU", [(1, 0), (2, 2), (3, 0)])):
        layer = layer_of(name)
        with patch.object(Task, "sweep", autospec=True, side_effect=Task.sweep) as sweeps, patch.object(units, "pulled", side_effect=units.pulled) as maps:
            layer(x, group=rnndsl.Shards(group, way="rounds"))[0].sum().backward()
        assert (sweeps.call_count, maps.call_count) == wanted[rank], (name, rank)


def check_large(group) -> None:
    """A state so large that sums lose digits beside it has right gradients: a map is no difference of states."""
    rank, layer = dist.get_rank(group), layer_of("MinGRU")
    x, begin = torch.randn(2, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)), [torch.full((2, 3), 1e30, dtype=torch.float64)]
    reset = torch.arange(9).expand(2, 9) == 7
    wanted, low = results(layer, [x], begin, reset, 0, 9), 3 * rank
    found = results(layer, [x], begin, reset, low, low + 3, group=rnndsl.Shards(group, way="rounds"))
    assert differ([found[0][0], found[2][0][:, low : low + 3], *found[4]], [wanted[0][0][:, low : low + 3], wanted[2][0][:, low : low + 3], *wanted[4]]) < 1e-10


def check_stacks(group) -> None:
    """Two layers, in one direction or both, or two blocks, over sequences of different lengths, padded or end to end, some of which end on other ranks, and some
    empty; outputs, states and gradients, whichever ranks have the states."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    torch.manual_seed(3)
    steps = 4 * size
    cuts = {"uneven": [0, *(4 * r - 2 for r in range(1, size)), steps], **{kind: cuts_of(steps, size, kind) for kind in ("short", "empty")}}
    draws = torch.Generator().manual_seed(5)
    padded, row = torch.randn(4, steps, 3, dtype=torch.float64, generator=draws), torch.randn(1, steps, 3, dtype=torch.float64, generator=draws)
    resets = torch.rand(4, steps, generator=draws) < 0.2

    def results_of(model, x, low: int, high: int, final: str, **named):
        """Outputs, states and gradients of inputs and params."""
        model.zero_grad()
        own = x[:, low:high].clone().requires_grad_()
        y, state = model(own, reset=resets[: x.shape[0], low:high], **named)
        states = [s for s in tree_leaves(state) if s is not None]
        (y.sin().sum() + sum(s.square().sum() for s in states) / (size if final == "all" else 1)).backward()
        return y, states, torch.zeros_like(own) if own.grad is None else own.grad, [p.grad for p in model.parameters()]

    for model in (
        Recurrent(class_of("Rotation"), {"D": 3, "H": 3}, num_layers=2, bidirectional=True, dtype=torch.float64),
        Blocks(Block(rnndsl.zoo.MinGRU, 3, {"H": 4}, taps=4, mlp=1.0, dtype=torch.float64) for _ in range(2)),
    ):
        for x, named in ((padded, {"lengths": [5, steps, 0, 4]}), (row, {"cu_seqlens": [0, 2, 2, 7, steps]}), (padded, {})):
            y, state, of_x, grads = results_of(model, x, 0, steps, "", **named)
            for kind, (low, high) in {kind: c[rank : rank + 2] for kind, c in cuts.items()}.items():
                final = "all" if kind == "uneven" else "last"
                own, own_state, own_of_x, own_grads = results_of(model, x, low, high, final, group=rnndsl.Shards(group, final), **named)
                assert bool(own_state) == (final == "all" or rank == size - 1)
                errors = differ([own, own_of_x], [y[:, low:high], of_x[:, low:high]]), differ(own_state, state) if own_state else 0.0, differ(own_grads, grads)
                assert max(errors) < 1e-9, (type(model), kind, named, errors)
    low, high = cuts["uneven"][rank : rank + 2]
    for named in ({"lengths": [3, rank, 0, 4]}, {"lengths": [3] * 4} if rank == 1 else {}):
        with raises(rnndsl.RankError, "lengths differ"):
            model(padded[:, low:high], **named, group=group)
    with raises(ValueError, "no PackedSequences"):
        Recurrent(rnndsl.zoo.Elman, {"D": 3, "H": 3}, dtype=torch.float64)(pack_sequence([row[0]]), group=group)


class Blocks(torch.nn.ModuleList):
    """Blocks, one behind the other."""

    def forward(self, x, **named):
        states = []
        for block in self:
            x, state = block(x, **named)
            states.append(state)
        return x, states


def check_language_model(group) -> None:
    """A language model over ranks: logits, the loss as a sum over ranks, gradients, and what goes on from its state; sequences of one document, and of several."""
    rank, size = dist.get_rank(group), dist.get_world_size(group)
    torch.manual_seed(3)
    model = LanguageModel(rnndsl.zoo.MinGRU, 7, 4, 2, {"H": 4}, z_loss=0.1, dtype=torch.float64)
    steps = 5 * size
    low, high = (0, 2) if rank == 0 else (5 * rank - 3, 5 * rank + 2 + 3 * (rank == size - 1))
    draws = torch.Generator().manual_seed(5)
    for batch, named in ((2, {}), (1, {"cu_seqlens": [0, 3, 3, steps]})):
        tokens, targets = (torch.randint(7, (batch, steps), generator=draws) for _ in range(2))
        targets[:, ::3] = -100
        found = []
        for over in ({}, {"group": rnndsl.Shards(group, "all")}):
            model.zero_grad()
            own, wanted = (t[:, low:high] if over else t for t in (tokens, targets))
            logits, state, loss = model(own, targets=wanted, **named, **over)
            loss.backward()
            if over:
                loss = loss.detach()
                dist.all_reduce(loss, group=group)
            further = [] if named else [model(own, state, **over).logits]
            found.append(([logits, *further], state, loss, [p.grad for p in model.parameters()]))
        (logits, state, loss, grads), (own, own_state, own_loss, own_grads) = found
        assert differ(own, [o[:, low:high] for o in logits]) < 1e-9 and differ(tree_leaves(own_state), tree_leaves(state)) < 1e-9
        assert differ([own_loss], [loss]) < 1e-9 and differ(own_grads, grads) < 1e-9
    with rnndsl.context_parallel(group), raises(ValueError, "one process"):
        model.generate(tokens, 1)


def check_mesh(group) -> None:
    """Two ranks of each sequence, two of the batch: the compiled layer, FSDP2 with activation checkpointing or DDP over the batch, and time over the others."""
    turned = DeviceMesh("cpu", [3, 2, 1, 0])
    with raises(ValueError, "along the mesh ranks are [3, 2, 1, 0]"):
        rnndsl.Shards(turned)
    with raises(ValueError, "along the mesh"):
        layer_of("MinGRU")(DTensor.from_local(torch.zeros(1, 1, 3, dtype=torch.float64), turned, [Shard(1)]), group=turned.get_group())
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "cp"))
    dp, cp = mesh["dp"].get_local_rank(), mesh["cp"].get_local_rank()
    x = torch.randn(4, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    whole = Two()
    (whole(x).square().sum() / 2).backward()
    wanted = [p.grad for p in whole.parameters()]
    own = x[2 * dp : 2 * dp + 2, 3 * cp : 3 + 5 * cp]
    for way, wrap, is_compiled in (("pipeline", "ddp", False), ("repeats", "fsdp", False), ("rounds", "fsdp", True)):
        model = Two()
        if is_compiled:
            model.one.compile(backend="eager")
        if wrap == "fsdp":
            for part in (model.one, model.two, model):
                fully_shard(part, mesh=mesh["dp"])
            model.checkpointed = True
            run = model
        else:
            run = torch.nn.parallel.DistributedDataParallel(model, process_group=mesh["dp"].get_group())
        with rnndsl.context_parallel(mesh["cp"], way=way):
            loss = run(own).square().sum()
        loss.backward()  # behind the context: what is computed again finds it
        found = [p.grad.full_tensor() if wrap == "fsdp" else p.grad for p in model.parameters()]
        assert differ(found, wanted) < 1e-9, (way, wrap)
    tokens = torch.randint(7, (4, 8), generator=torch.Generator().manual_seed(5))
    torch.manual_seed(3)
    whole = LanguageModel(rnndsl.zoo.GRU, 7, 4, 1, {"H": 3}, dtype=torch.float64)
    model = copy.deepcopy(whole)
    (whole(tokens).logits.square().sum() / 2).backward()
    for part in (*model.blocks, model):
        fully_shard(part, mesh=mesh["dp"])
    with rnndsl.context_parallel(mesh["cp"], way="repeats"):
        loss = checkpoint(model, tokens[2 * dp : 2 * dp + 2, 3 * cp : 3 + 5 * cp], use_reentrant=False).logits.square().sum()
    loss.backward()
    assert differ([p.grad.full_tensor() for p in model.parameters()], [p.grad for p in whole.parameters()]) < 1e-9


def check_lost(group) -> None:
    """A rank that hangs, one that does not come to the backward pass, and one that dies: an error on each other one, within the timeout."""
    rank = dist.get_rank(group)
    layer = layer_of("MinGRU")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    for how in ("hangs", "has no backward pass"):
        own = dist.new_group([0, 1, 2, 3], timeout=datetime.timedelta(seconds=2))
        if rank != 1 or how != "hangs":
            begin = time.monotonic()
            with raises(rnndsl.RankError if rank != 1 else (rnndsl.RankError, KeyError), f"rank {rank} of 4"):
                y, _ = layer(x, group=own)
                if rank == 1:
                    raise KeyError(f"rank {rank} of 4")
                y.sum().backward()
            for _ in range(2):  # whatever is tried then
                with raises((rnndsl.RankError, KeyError), "nothing more goes" if rank != 1 else ""):
                    layer(x, group=own) if rank != 1 else fails()
            assert time.monotonic() - begin < SECONDS / 2
        dist.barrier(group)
    layer(x, group=group)
    if rank == 1:
        os._exit(0)
    for way in ("pipeline", "rounds", "repeats"):
        with raises(rnndsl.RankError, f"rank {rank} of 4"):
            layer(x, group=rnndsl.Shards(group, way=way))


def fails(*_):
    raise KeyError("of its own")


class Two(torch.nn.Module):
    """Two layers, one behind the other."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.checkpointed = layer_of("ParaGRU"), layer_of("MinGRU"), False

    def forward(self, x):
        for layer in (self.one, self.two):
            x, _ = checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x)
        return x


@contextmanager
def raises(kind, message: str = ""):
    try:
        yield
    except kind as e:
        assert message in str(e), f"{message!r} is not in: {e}"
    else:
        raise AssertionError(f"nothing was raised where {message!r} was to be")


def start(rank: int, folder: str, checks: list) -> None:
    """What each process does: all checks, whose errors it writes down."""
    os.environ["RNNDSL_BACKEND"] = "reference"
    torch.set_num_threads(1)
    repeats.STEPS = 1  # so that short shards have pieces
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=SIZE, timeout=datetime.timedelta(seconds=SECONDS))
    groups = {n: dist.new_group(list(range(n)), timeout=datetime.timedelta(seconds=SECONDS)) for n in (2, 3, 4)}
    for number, (name, size, arguments) in enumerate(checks):
        if rank < size:
            try:
                globals()[name](groups[size], **arguments)
            except Exception:
                (Path(folder) / f"{number}.{rank}").write_text(traceback.format_exc())
        if name == "check_lost":
            os._exit(0)
        dist.barrier()
    dist.destroy_process_group()


def run(folder: Path, checks: list) -> list[str]:
    """What went wrong in each check: (name, ranks, arguments)."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch._dynamo.backends.common", "tests.ranks_loaded"])  # what takes long is imported once
    mp.start_processes(start, (str(folder), checks), nprocs=SIZE, start_method="forkserver")
    return ["\n".join(p.read_text() for p in sorted(folder.glob(f"{n}.*"))) for n in range(len(checks))]
