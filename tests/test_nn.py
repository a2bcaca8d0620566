"""Stacks of generated cells: every cell in both directions over sequences of any lengths, layouts, states, errors, torch's machinery."""

import copy
import io
import pickle
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

import rnndsl
from rnndsl.nn import Recurrent, clip_gradient, clip_params_
from rnndsl.runtime import build
from tests.agreement import ODD, random_inputs, sizes_of
from tests.features import FEATURES, SIZES, program
from tests.zoo_cells import ZOO

GRU = rnndsl.load(ZOO["GRU"].text).GRU
SIZES_OF_GRU = {"D": 3, "H": 4}
F64 = {"dtype": torch.float64, "backend": "reference"}
TURNS = """
cell Turns(D, H, rate = 0.5):
  input x: [D]
  input dt: []
  state h: [H] = 0.3
  state g: [H]
  param W: [H, D]
  param a: [H]
  h[t] = tanh(W @ x + a * h[t-2] + dt) + 0.1 * sum(x[t-1])
  g[t] = rate * h[t-1] + 0.01 * t
  output h, s = sum(g[t]), m = outer(h[t], g[t])
"""


def close(a, b, what: str = "") -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, equal_nan=True, msg=lambda m: f"{what}: {m}")


def flat(value) -> list[torch.Tensor]:
    """The tensors of outputs and states, one behind the other."""
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in flat(v)]


def gru(layers: int = 2, both: bool = True, **settings) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(GRU, SIZES_OF_GRU, layers, both, **F64 | settings)


@cache
def swept(name: str, both: bool = True) -> Recurrent:
    """A layer of any published cell or feature, in evaluation mode."""
    text, cell = (ZOO[name].text, name) if name in ZOO else (program(name), "C")
    cls = getattr(rnndsl.load(text), cell)
    torch.manual_seed(0)
    sizes = sizes_of(text, cell) if name in ZOO else {n: v for n, v in SIZES.items() if n in sizes_of(text, cell)}
    return Recurrent(cls, sizes, bidirectional=both, **F64).eval()


def alone(net: Recurrent, inputs: list[torch.Tensor], reset: torch.Tensor | None = None) -> tuple[list, list]:
    """One sequence by the layers themselves: outputs [T, ...] and final states, without a batch."""
    inputs = [x.unsqueeze(0) for x in inputs]
    found, states = [], []
    for backward, cell in enumerate(net.cells):
        own = [x.flip(1) for x in inputs] if backward else inputs
        resets = None if reset is None else reset.unsqueeze(0)
        if backward and reset is not None:  # a border lies between two steps, whichever way they are gone through
            resets = torch.cat([resets[:, 1:], torch.zeros_like(resets[:, :1])], 1).flip(1)
        y, state = cell(*own, reset=resets)
        found.append([(o.flip(1) if backward else o)[0] for o in flat(y)])
        states.append([s[0] for s in state])
    if len(found) == 1:
        return found[0], states
    return [torch.stack(pair, -1) if pair[0].dim() == 1 else torch.cat(pair, -1) for pair in zip(*found, strict=True)], states


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", [*ZOO, *FEATURES])
def test_lengths_in_both_directions(name):
    """Each sequence as by itself, whatever the padding holds; no gradient goes there, and none is lost."""
    net, lengths, steps = swept(name), [5, 0, 1, 3], 5
    inputs = [x.detach() for x in random_inputs(net.cells[0], len(lengths), steps)]
    reset = torch.rand(len(lengths), steps, generator=torch.Generator().manual_seed(1)) < 0.3
    for x in inputs:
        for b, n in enumerate(lengths):
            x[b, n:] = float("nan")
        x.requires_grad_()
    y, states = net(*inputs, lengths=lengths, reset=reset)
    total = sum(torch.nan_to_num(o.abs(), 0.0, 0.0).sum() for o in flat([y, states]) if o.requires_grad)
    if total != 0:
        grads = torch.autograd.grad(total, [*inputs, *net.parameters()], allow_unused=True)
        for g in grads[: len(inputs)]:
            assert g is None or all(not g[b, n:].any() for b, n in enumerate(lengths))
        assert all(g is None or bool(g.isfinite().all()) for g in grads), "a gradient came from padding"
    for b, n in enumerate(lengths):
        want, ends = alone(net, [x[b, :n] for x in inputs], reset[b, :n])
        for got, wanted in zip(flat(y), want, strict=True):
            close(got[b, :n], wanted, "output")
            assert not got[b, n:].any(), "outputs at padding are zero"
        for got, wanted in zip(states, ends, strict=True):
            for field, a, w in zip(got._fields, got, wanted, strict=True):
                close(a[b], w, f"final {field}")


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", [*ZOO, *FEATURES])
@pytest.mark.parametrize("is_given", [False, True])
def test_sequences_end_to_end(name, is_given):
    """As apart, with the states that they end with, and from states of their own."""
    net, lengths = swept(name), [2, 0, 4, 1]
    borders = torch.tensor([0, 2, 2, 6, 7])
    inputs = [x.detach() for x in random_inputs(net.cells[0], 1, 7)]
    reset = torch.zeros(1, 7, dtype=torch.bool)
    reset[0, 4] = True
    states = [c(*[x[:, :3].expand(4, *x[:, :3].shape[1:]) for x in inputs])[1] for c in net.cells] if is_given else None
    y, ended = net(*inputs, state=states, cu_seqlens=borders, reset=reset)
    apart = [x.new_zeros(4, 4, *x.shape[2:]) for x in inputs]
    resets = torch.zeros(4, 4, dtype=torch.bool)
    for b, (a, n) in enumerate(zip(borders, lengths, strict=False)):
        for x, p in zip(inputs, apart, strict=True):
            p[b, :n] = x[0, a : a + n]
        resets[b, :n] = reset[0, a : a + n]
    want, ends = net(*apart, state=states, lengths=lengths, reset=resets)
    for got, wanted in zip(flat(y), flat(want), strict=True):
        close(got[0], torch.cat([wanted[b, :n] for b, n in enumerate(lengths)]), "output")
    for a, b in zip(flat(ended), flat(ends), strict=True):
        close(a, b, "final state")


def test_both_kinds_of_length_carry_a_state():
    """In two halves as in one, with gradients through the state between."""
    net, x = gru(both=False), torch.randn(3, 6, 3, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 4, 3])
    y, ended = net(x, lengths=lengths)
    _, middle = net(x[:, :3])
    z, last = net(x[:, 3:], middle, lengths=lengths - 3)
    close(z, y[:, 3:])
    close(flat(last), flat(ended))
    (g,) = torch.autograd.grad(z.sum(), x, retain_graph=True)
    (h,) = torch.autograd.grad(y[:, 3:].sum(), x)
    close(g, h)


def test_a_stack_is_its_layers():
    """Composed by hand: both directions of a layer side by side go into each direction of the next."""
    net, x = gru(3), torch.randn(2, 5, 3, dtype=torch.float64)
    y, states = net(x)
    want, z = [], x
    for i in range(3):
        there, s = net.cells[2 * i](z)
        back, r = net.cells[2 * i + 1](z.flip(1))
        z = torch.cat([there, back.flip(1)], -1)
        want += [s, r]
    close(y, z)
    close(flat(states), flat(want))
    assert [c.D for c in net.cells] == [3, 3, 8, 8, 8, 8] and "num_layers=3, bidirectional=True" in repr(net)


def test_layers_of_different_cells():
    """Sizes by name where headers share them, or a dict a layer; the size of what comes from below may be left out."""
    mixed = Recurrent([GRU, rnndsl.load(ZOO["LSTM"].text)], SIZES_OF_GRU, **F64)
    assert [type(c).__name__ for c in mixed.cells] == ["GRU", "LSTM"] and mixed.cells[1].D == 4
    own = Recurrent([GRU, rnndsl.load(ZOO["RHN"].text).RHN], [SIZES_OF_GRU, {"H": 7, "L": 2}], bidirectional=True, **F64)
    y, states = own(torch.ones(2, 5, 3, dtype=torch.float64), lengths=[5, 3])
    assert y.shape == (2, 5, 14) and own.cells[2].D == 8 and len(states) == 4
    wide = Recurrent(rnndsl.load(ZOO["EMA"].text), {"H": 3}, 2, True, **F64)  # `input x: [H]`: H is what comes in
    assert [c.H for c in wide.cells] == [3, 3, 6, 6] and wide(torch.ones(1, 2, 3, dtype=torch.float64))[0].shape == (1, 2, 12)


def test_further_inputs_go_to_every_layer_and_an_output_is_chosen():
    cls = rnndsl.load(TURNS).Turns
    net = Recurrent(cls, {"D": 3, "H": 4, "rate": 0.25}, 2, True, output="h", **F64)
    x, dt = torch.randn(2, 5, 3, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    y, states = net(x, dt, lengths=[5, 2])
    assert net.inputs == ("x", "dt") and y.h.shape == (2, 5, 8) and y.s.shape == (2, 5, 2) and y.m.shape == (2, 5, 4, 8)
    assert net.cells[2].D == 8 and net.cells[3].rate == 0.25
    z, again = net(x[1, :2], dt[1, :2])
    close([o[1, :2] for o in flat(y)], flat(z))
    close([s[1] for s in flat(states)], flat(again))
    with pytest.raises(ValueError, match="m: it goes to every layer, and is .D=3. in layer 0, .D=6. in layer 1"):
        Recurrent(rnndsl.load("cell Pair(D, H):\n  input x, m: [D]\n  state h: [H]\n  param W: [H, D]\n  h[t] = tanh(W @ x + W @ m) + h[t-1]\n  output h\n").Pair, {"D": 3, "H": 6}, 2)
    assert Recurrent(rnndsl.load(ZOO["GRUD"].text), {"D": 3, "H": 4}, bidirectional=True).inputs == ("x", "m", "delta")


def test_layouts():
    """Time first, one sequence, and both with lengths: the same numbers."""
    net, late = gru(), gru(batch_first=False)
    x, reset = torch.randn(4, 6, 3, dtype=torch.float64), torch.rand(4, 6) < 0.2
    y, states = net(x, lengths=[6, 1, 3, 2], reset=reset)
    z, others = late(x.transpose(0, 1), lengths=torch.tensor([6, 1, 3, 2], dtype=torch.int32), reset=reset.T)
    close(z.transpose(0, 1), y)
    close(flat(others), flat(states))
    one, ends = net(x[2, :3], reset=reset[2, :3])
    close(one, y[2, :3])
    close([s[2] for s in flat(states)], flat(ends))
    close(late(x[2, :3], reset=reset[2, :3])[0], one)
    close(net(x[2, :3], ends)[0], net(x[2:3, :3], [[f.unsqueeze(0) for f in s] for s in ends])[0][0])
    rows, ended = late(x[:2].reshape(-1, 1, 3), cu_seqlens=np.array([0, 6, 12]))
    assert rows.shape == (12, 1, 8) and ended[0].h.shape == (2, 4)
    close(rows[6:, 0], net(x[1])[0])
    close(net(x[:2].reshape(-1, 3), cu_seqlens=[0, 6, 12])[0], rows[:, 0])


@pytest.mark.parametrize("is_sorted", [False, True])
def test_packed_sequences(is_sorted):
    """In as out, in the same order, as padded ones; states are in the order before packing."""
    net = gru(stacked_states=True)
    lengths = torch.tensor([6, 4, 2] if is_sorted else [2, 6, 4])
    x, h = torch.randn(3, 6, 3, dtype=torch.float64), torch.randn(4, 3, 4, dtype=torch.float64)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=is_sorted)
    y, ended = net(packed, h)
    want, ends = net(x, h, lengths=lengths)
    assert isinstance(y, PackedSequence) and torch.equal(y.batch_sizes, packed.batch_sizes)
    assert (y.sorted_indices is None) == is_sorted
    close(pad_packed_sequence(y, batch_first=True)[0], want)
    close(ended, ends)
    ours, theirs = gru(1, False), nn.GRU(3, 4)
    names = pack_sequence([x[0, :2], x[1, :5]], enforce_sorted=False)
    assert torch.equal(ours(names)[0].unsorted_indices, theirs(names._replace(data=names.data.float()))[0].unsorted_indices)
    two = Recurrent(rnndsl.load(TURNS), {"D": 3, "H": 4}, output="h", **F64)
    dt = pack_padded_sequence(torch.rand(3, 6, dtype=torch.float64), lengths, batch_first=True, enforce_sorted=is_sorted)
    assert two(packed, dt)[0].m.data.shape == (12, 4, 4)
    with pytest.raises(TypeError, match="dt: expected a PackedSequence of the same lengths as x, got Tensor"):
        two(packed, x[..., 0])
    with pytest.raises(TypeError, match="a PackedSequence says where sequences end"):
        net(packed, lengths=lengths)


def test_states_as_torch_has_them():
    """[layers · directions, B, H] each field, layer 0, its backward direction, layer 1."""
    lstm = Recurrent(rnndsl.load(ZOO["LSTM"].text), SIZES_OF_GRU, 2, True, stacked_states=True, **F64)
    plain = copy.deepcopy(lstm)
    plain.stacked_states = False
    x = torch.randn(3, 5, 3, dtype=torch.float64)
    _y, (h, c) = lstm(x)
    _z, states = plain(x)
    assert h.shape == c.shape == (4, 3, 4)
    close([h, c], [torch.stack([s.h for s in states]), torch.stack([s.c for s in states])])
    close(lstm(x, (h, c))[0], plain(x, states)[0])
    assert lstm.initial_state(2)[0].shape == (4, 2, 4) and len(plain.initial_state(2)) == 4
    one, (h1, _) = lstm(x[0], (h[:, 0], c[:, 0]))
    assert h1.shape == (4, 4)
    close(one, lstm(x, (h, c))[0][0])
    with pytest.raises(ValueError, match="stacked_states: layers have states of different names or sizes"):
        Recurrent([GRU, rnndsl.load(ZOO["LSTM"].text)], SIZES_OF_GRU, stacked_states=True)


def test_steps():
    net, x = gru(both=False), torch.randn(2, 5, 3, dtype=torch.float64)
    y, ended = net(x)
    state, found = net.initial_state(2), []
    for t in range(5):
        out, state = net.step(x[:, t], state)
        found.append(out)
    close(torch.stack(found, 1), y)
    close(flat(state), flat(ended))
    with pytest.raises(TypeError, match="step: the backward direction begins at the end"):
        gru().step(x[:, 0])


def test_dropout_stands_between_layers():
    net, x = gru(2, False, dropout=1.0), torch.randn(2, 5, 3, dtype=torch.float64)
    close(net(x)[0], net.cells[1](torch.zeros(2, 5, 4, dtype=torch.float64))[0])
    close(net(x)[1][0].h, net.cells[0](x)[1].h)
    net.eval()
    close(net(x)[0], net.cells[1](net.cells[0](x)[0])[0])
    with pytest.warns(UserWarning, match="dropout: it stands between layers"):
        gru(1, dropout=0.5)


X = torch.zeros(2, 5, 3, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda n: n(X, lengths=[5, None]), TypeError, "lengths: expected whole numbers in a tensor or a list, got [5, None]"),
        (lambda n: n(X, lengths=[5.0, 2.0]), TypeError, "lengths: expected whole numbers, got torch.float"),
        (lambda n: n(X, lengths=torch.ones(2, 5, dtype=torch.bool)), TypeError, "a mask becomes lengths by mask.sum(1)"),
        (lambda n: n(X, lengths=[5]), ValueError, "lengths: expected [B=2], got [1]"),
        (lambda n: n(X, lengths=[5, 6]), ValueError, "lengths: expected whole numbers from 0 to 5, the steps that there are; got [5, 6]"),
        (lambda n: n(X, lengths=[5, -1]), ValueError, "lengths: expected whole numbers from 0 to 5"),
        (lambda n: n(X[0], lengths=[5]), ValueError, "lengths: expected a batch, got one sequence"),
        (lambda n: n(X, lengths=[5, 5], cu_seqlens=[0, 5]), TypeError, "lengths, cu_seqlens: one or the other"),
        (lambda n: n(X, cu_seqlens=[0, 5, 10]), ValueError, "cu_seqlens: expected a batch of one, in which sequences stand end to end, got one of 2"),
        (lambda n: n(X[:1], cu_seqlens=[2, 3]), ValueError, "lengths become them by torch.nn.functional.pad(lengths.cumsum(0), (1, 0)); got [2, 3]"),
        (lambda n: n(X[:1], cu_seqlens=[0, 4, 3, 5]), ValueError, "which never fall"),
        (lambda n: n(X[:1], cu_seqlens=[0.0, 5.0]), TypeError, "cu_seqlens: expected whole numbers, got torch.float"),
        (lambda n: n(X[:1], cu_seqlens=[[0, 5]]), ValueError, "cu_seqlens: expected [N + 1]"),
        (lambda n: n(), TypeError, "expected 1 input (x) and perhaps a state, got 0"),
        (lambda n: n(X, None, None), TypeError, "expected 1 input (x) and perhaps a state, got 3"),
        (lambda n: n(X, (), state=()), TypeError, "the state was given twice"),
        (lambda n: n(X[..., :2]), ValueError, "x: expected [B, T, D=3] or [T, D=3], got [2, 5, 2]"),
        (lambda n: n([1.0]), TypeError, "x: expected a tensor, got list"),
        (lambda n: n(torch.nested.nested_tensor([X[0], X[1, :2]])), TypeError, "x: expected a dense tensor, got a nested one"),
        (lambda n: n(X, X[0, 0]), TypeError, "torch.nn's tensors come and go with stacked_states=True"),
        (lambda n: n(X, n.initial_state(2)[:3]), ValueError, "state: expected 4 states (layer 0; layer 0, backward; layer 1; layer 1, backward), got 3"),
        (lambda n: n(X, n.initial_state(2)[0]), TypeError, "state: expected a tuple of 4 states"),
        (lambda n: n(X, [*n.initial_state(2)[:3], (X, X)]), TypeError, "state of layer 1, backward: expected GRUState(h), got tuple of 2"),
        (lambda n: n(X, n.initial_state(3)), ValueError, "state of layer 0: h: expected [B=2, H=4], got [3, 4]"),
        (lambda n: n(X, reset=torch.zeros(2, 5)), TypeError, "reset: expected a bool tensor, got torch.float32"),
        (lambda n: n(X, reset=torch.zeros(2, 4).bool()), ValueError, "reset: expected [B=2, T=5], got [2, 4]"),
        (lambda n: gru(0), ValueError, "num_layers: expected a whole number from 1 on, got 0"),
        (lambda n: gru(dropout=2), ValueError, "dropout: expected a probability, got 2"),
        (lambda n: Recurrent(GRU, {"H": 4}), ValueError, "sizes: 'D' is missing; GRU has D, H"),
        (lambda n: Recurrent(GRU, {"D": 3, "hidden_size": 4}), ValueError, "sizes: there is no 'hidden_size'; GRU has D, H"),
        (lambda n: Recurrent(GRU, 3), TypeError, "sizes: expected GRU's sizes by name, {\"D\": …, \"H\": …}, or a list of such dicts, got 3"),
        (lambda n: Recurrent(GRU, [SIZES_OF_GRU, {"D": 5, "H": 4}], 2), ValueError, "layer 1: D was given as 5, and 4 comes from below"),
        (lambda n: Recurrent([GRU], SIZES_OF_GRU, 2), ValueError, "cell: expected one for each of 2 layers, got 1"),
        (lambda n: Recurrent(nn.GRU, SIZES_OF_GRU), TypeError, "cell: expected a class made by rnndsl, as rnndsl.load(…).MyCell, got GRU"),
        (lambda n: Recurrent(n.cells[0], SIZES_OF_GRU), TypeError, "got an object of GRU"),
        (lambda n: Recurrent(rnndsl.load(ZOO["M2RNN"].text.replace("merge((W_q @ x) @ H[t])", "H[t]")), ODD | {"D": 3, "N": 2, "K": 3, "V": 4}, 1), ValueError, "there is no"),
        (lambda n: Recurrent(rnndsl.load("cell T(D):\n  input x: [D]\n  state a: [D]\n  a[t] = x\n  output y = outer(a[t], x)\n"), {"D": 3}, 2), ValueError,
         "layer 1: T takes x: [D=3], and [3, 3] comes from below; give sizes as a list"),
        (lambda n: Recurrent([rnndsl.load("cell T(D):\n  input x: [D]\n  state h: complex [D]\n  h[t] = 1j * h[t-1] + x\n  output h\n"), GRU], SIZES_OF_GRU), ValueError,
         "layer 1: x is real, and complex values come from below"),
        (lambda n: Recurrent(rnndsl.load(TURNS), {"D": 3, "H": 4}, output="q"), ValueError, "output: layer 0 has no 'q'; its outputs are h, s, m"),
        (lambda n: Recurrent(rnndsl.load(ZOO["GRU"].text + "\n" + ZOO["LSTM"].text), SIZES_OF_GRU), TypeError, "cell: expected a program of one cell, got one of 2: GRU, LSTM"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call(gru())
    assert words in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0), (2, 1)])
def test_empty_and_short(shape):
    net = gru()
    x = torch.randn(*shape, 3, dtype=torch.float64, requires_grad=True)
    for how in ({}, {"lengths": [shape[1]] * shape[0]}, {"lengths": [0] * shape[0]}, {"reset": torch.ones(shape, dtype=torch.bool)}):
        y, states = net(x, **how)
        assert y.shape == (*shape, 8) and all(s.h.shape == (shape[0], 4) for s in states)
        if y.requires_grad:
            y.sum().backward()
        if how.get("lengths") == [0, 0]:
            close(flat(states), flat(net.initial_state(2)))
    for borders in ([0, 0, 0, 5], [0, 5, 5], [0, 5]):
        assert net(torch.randn(1, 5, 3).double(), cu_seqlens=borders)[1][0].h.shape == (len(borders) - 1, 4)
    y, states = net(x[:1, :0].reshape(1, 0, 3), cu_seqlens=[0, 0, 0], state=net.initial_state(2))
    assert y.shape == (1, 0, 8) and states[0].h.shape == (2, 4)
    assert net(x[:1, :0].reshape(1, 0, 3), cu_seqlens=[0])[1][0].h.shape == (0, 4)


def test_torchs_machinery():
    net, x = gru(), torch.randn(3, 5, 3, dtype=torch.float64)
    y, _states = net(x, lengths=[5, 0, 3])
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        close(other(x, lengths=[5, 0, 3])[0], y)
    fresh = Recurrent(GRU, SIZES_OF_GRU, 2, True, **F64)
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer))
    close(fresh(x)[0], net(x)[0])
    with torch.no_grad():
        close(net(x, lengths=[5, 0, 3])[0], y)
    assert net.float()(x.float())[0].dtype == torch.float32
    assert net.to(torch.bfloat16)(x.bfloat16(), lengths=[5, 0, 3])[1][0].h.dtype == torch.float32
    net = gru()
    values = {n: p + 0.1 for n, p in net.named_parameters()}
    assert not torch.equal(functional_call(net, values, (x,))[0], y)
    net.flatten_parameters()
    before = net.cells[0].W_r.detach().clone()
    torch.manual_seed(0)
    net.reset_parameters()
    close(before, net.cells[0].W_r)


@pytest.mark.parametrize(("how", "layers", "both"), [("lengths", 2, False), ("cu_seqlens", 1, True)])
def test_compiled_without_a_break(how, layers, both):
    net, x = gru(layers, both), torch.randn(2, 2, 3, dtype=torch.float64)
    given = {"lengths": torch.tensor([2, 1])} if how == "lengths" else {}
    if how == "cu_seqlens":
        x, given = x[:1], {"cu_seqlens": torch.tensor([0, 1, 2])}
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    y, states = compiled(x, **given)
    want, ends = net(x, **given)
    close(y, want)
    close(flat(states), flat(ends))
    y.sum().backward()
    assert net.cells[0].W_r.grad is not None
    if how == "lengths":
        with pytest.raises(RuntimeError, match="lengths: expected whole numbers from 0 to 2"):
            compiled(x, lengths=torch.tensor([2, 7]))


@pytest.mark.skipif(build.compiler() is None, reason="plain PyTorch unrolls the steps")
def test_exported_with_any_batch_and_time():
    net = Recurrent(GRU, SIZES_OF_GRU, bidirectional=True, backend="cpu")

    class Ragged(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, lengths):
            y, states = self.net(x, lengths=lengths)
            return y, states[1].h

    some = {0: torch.export.Dim("B", min=2, max=64), 1: torch.export.Dim("T", min=2, max=512)}
    program = torch.export.export(Ragged(), (torch.randn(3, 5, 3), torch.tensor([5, 2, 0])), dynamic_shapes={"x": some, "lengths": {0: some[0]}})
    x, lengths = torch.randn(4, 9, 3), torch.tensor([9, 1, 0, 4])
    y, states = net(x, lengths=lengths)
    for a, b in zip(program.module()(x, lengths), (y, states[1].h), strict=True):
        torch.testing.assert_close(a, b)


# What layers have of their own


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", [*ZOO, *FEATURES])
def test_the_state_after_every_step(name):
    """Each field of it, from which a call goes on as from the state that a shorter one returns."""
    layer = swept(name, False).cells[0]
    inputs = random_inputs(layer, 2, 4)
    reset = torch.zeros(2, 4, dtype=torch.bool)
    reset[0, 2] = True
    _, state, states = layer(*inputs, reset=reset, all_states=True)
    assert tuple(states) == state._fields
    for t in range(4):
        _, want = layer(*(x[:, : t + 1] for x in inputs), reset=reset[:, : t + 1])
        for field in state._fields:
            got = states[field][:, t]
            assert got.dtype == getattr(want, field).dtype
            close(got, getattr(want, field), field)
    assert [s.shape for s in flat(layer(*inputs, guess=states)[1])] == [s.shape for s in flat(state)]


def test_a_state_by_position():
    layer = GRU(D=3, H=4, dtype=torch.float64)
    _, state = layer(X)
    close(layer(X, state)[0], layer(X, state=state)[0])
    close(layer(X, [state.h])[0], layer(X, state=state)[0])
    close(layer(X, None)[0], layer(X)[0])
    close(layer.step(X[:, 0], state)[0], layer.step(X[:, 0], state=state)[0])
    with pytest.raises(TypeError, match="the state was given twice"):
        layer(X, state, state=state)
    with pytest.raises(TypeError, match=r"expected 1 input \(x\), got 2; a state that follows them is a tuple of its fields"):
        layer(X, X)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"D": 3, "H": 4, "num_layers": 2}, "GRU: there is no num_layers=; this layer takes D=, H=, and device=, dtype=, backend=, schedule=; rnndsl.nn.Recurrent stacks layers"),
        ({"input_size": 3, "hidden_size": 4}, "GRU: there is no input_size=; this layer takes D=, H=, and device="),
        ({"D": 3}, "GRU: missing a required argument: 'H'; this layer takes D=, H="),
    ],
)
def test_arguments_that_a_constructor_has_not(arguments, words):
    with pytest.raises(TypeError) as caught:
        GRU(**arguments)
    assert str(caught.value).startswith(words)
    with pytest.raises(TypeError, match="this layer takes D=, H=, rate=0.5, and"):
        rnndsl.load(TURNS).Turns(speed=3)


def test_sizes_of_numpy_and_a_public_base():
    layer = GRU(np.int64(3), H=np.int32(4))
    assert isinstance(layer, rnndsl.Layer) and layer.W_r.shape == (4, 3) and (layer.D, layer.H) == (3, 4) and type(layer.H) is int
    assert layer.initial_state(np.int64(2)).h.shape == (2, 4)
    assert rnndsl.load(TURNS).Turns(3, 4, rate=np.float32(0.5)).rate == 0.5
    for wrong in (np.bool_(True), np.float64(3.0)):
        with pytest.raises(TypeError, match="D: expected a whole number"):
            GRU(wrong, 4)
    assert rnndsl.nn.Recurrent is Recurrent


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_refused(layout):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older ones are a prototype
        x = torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(3, 3)], layout=layout)
    with pytest.raises(TypeError, match="x: expected a dense tensor, got a nested one; rnndsl.nn.Recurrent takes sequences of different lengths"):
        GRU(3, 4)(x)


def test_params_are_drawn_anew():
    """As by the constructor, in place; consts that the user sets stay, those that the cell gives a value get it."""
    text = "cell C(H, s = 2):\n  input x: [H]\n  state h: [H]\n  param W: [H, H]\n  param a: [H] in (0, 1) ~ uniform(0.2, 0.8)\n  const M: [H, H]\n  const p: [H] = s\n  h[t] = a * h[t-1] + W @ x + M @ x + p\n  output h\n"
    cls = rnndsl.load(text).C
    torch.manual_seed(3)
    layer = cls(H=4, dtype=torch.float64)
    first = {n: t.clone() for n, t in layer.state_dict().items()}
    held = layer.W
    with torch.no_grad():
        layer.W.zero_()
        layer.M.fill_(7)
        layer.p.zero_()
    torch.manual_seed(3)
    layer.reset_parameters()
    assert layer.W is held and bool((layer.M == 7).all())
    for name in ("W", "raw_a", "p"):
        assert torch.equal(layer.state_dict()[name], first[name]), name
    layer.reset_parameters()
    assert not torch.equal(layer.W, first["W"])
    made = cls(H=4, device="meta").to_empty(device="cpu")
    made.reset_parameters()
    assert bool((made.p == 2).all()) and bool(((made.a > 0.19) & (made.a < 0.81)).all())
    normed = nn.utils.parametrizations.weight_norm(cls(H=4), "W")
    before = normed.W.detach().clone()
    normed.reset_parameters()
    assert not torch.allclose(before, normed.W)
    order = rnndsl.load("cell O(r = 0.5, H):\n  input x: [H]\n  param a: [H] ~ normal(r)\n  output y = a * x\n").O(0.25, 3)
    order.reset_parameters()
    assert order.a.shape == (3,)


# In bounds


def test_params_are_clipped():
    """By the last part of their names, in place, to numbers or pairs."""
    net = Recurrent(rnndsl.load(ZOO["ParaGRU"].text), SIZES_OF_GRU, 2)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(3.0)
    clip_params_(net, {"a_*": 0.5, "b_z": (-1, 2)})
    want = {"W_z": 3.0, "a_z": 0.5, "a_r": 0.5, "b_z": 2.0, "b_n": 3.0}
    for name, p in net.named_parameters():
        if (last := name.split(".")[-1]) in want:
            assert bool((p == want[last]).all()), name
    with pytest.raises(ValueError, match="no param is called 'c'; there are W_z, "):
        clip_params_(net, {"c": 1.0})
    for wrong in (-1.0, (2, 1), float("nan")):
        with pytest.raises(ValueError, match="bounds: a_z: expected a number that is not negative"):
            clip_params_(net, {"a_z": wrong})


def test_gradients_are_clipped_at_a_border():
    """A sequence's gradient in a tensor, or an entry's; smaller ones, values, and what is no real number go through."""
    state = (torch.ones(2, 3, 2, requires_grad=True), [torch.full((2,), 2.0, requires_grad=True), torch.tensor([1, 2])])
    weights = torch.tensor([3.0, 0.01]).view(2, 1, 1)
    for how, wanted in (({"norm": 1.0}, [1 / 6**0.5, 0.01]), ({"value": 0.5}, [0.5, 0.01])):
        clipped = clip_gradient(state, **how)
        assert torch.equal(clipped[0], state[0]) and torch.equal(clipped[1][1], state[1][1])
        g, h = torch.autograd.grad((clipped[0] * weights).sum() + 7 * clipped[1][0].sum(), [state[0], state[1][0]])
        torch.testing.assert_close(g, torch.tensor(wanted).view(2, 1, 1).expand(2, 3, 2))
        torch.testing.assert_close(h, torch.full((2,), how.get("norm", 0.5)))
    z = torch.ones(2, 1, dtype=torch.complex64, requires_grad=True)
    (g,) = torch.autograd.grad((clip_gradient(z, value=0.5) * (3 + 4j)).real.sum(), z)
    torch.testing.assert_close(g, torch.full((2, 1), 0.3 - 0.4j))
    net, x = gru(both=False), torch.randn(2, 4, 3, dtype=torch.float64)
    _, middle = net(x)
    border = clip_gradient(middle, norm=1e-3)
    assert type(border[0]) is type(middle[0])
    net(x, border)[0].sum().backward()
    assert float(net.cells[0].W_r.grad.abs().max()) > 0 and isinstance(border, tuple)
    for wrong in ({}, {"norm": 1.0, "value": 1.0}):
        with pytest.raises(TypeError, match="expected norm= or value="):
            clip_gradient(z, **wrong)
    with pytest.raises(ValueError, match="norm: expected a positive number, got 0"):
        clip_gradient(z, norm=0)
