"""torch.nn's GRU, LSTM and RNN as stacks and back: equal numbers and gradients in every form of them."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnndsl
from rnndsl.nn import Recurrent, from_torch, from_torch_state, to_torch, to_torch_state
from tests.zoo_cells import ZOO

KINDS = {"GRU": (nn.GRU, {}), "LSTM": (nn.LSTM, {}), "tanh": (nn.RNN, {}), "relu": (nn.RNN, {"nonlinearity": "relu"})}
FORMS = list(itertools.product(KINDS, (False, True), (False, True), (True, False)))


def theirs(kind: str, both: bool = False, bias: bool = True, batch_first: bool = True, layers: int = 2, dtype=torch.float64) -> nn.Module:
    torch.manual_seed(0)
    cls, further = KINDS[kind]
    return cls(3, 4, layers, bias=bias, batch_first=batch_first, bidirectional=both, dtype=dtype, **further)


def flat(value) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [t for v in value for t in flat(v)]


def close(a, b) -> None:
    for x, y in zip(flat(a), flat(b), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "both", "bias", "batch_first"), FORMS)
def test_the_same_numbers_and_gradients_both_ways(kind, both, bias, batch_first):
    module = theirs(kind, both, bias, batch_first)
    net = from_torch(module, backend="reference")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    batch = 2 if batch_first else 5
    h = [torch.randn(4 if both else 2, batch, 4, dtype=torch.float64) for _ in range(2 if kind == "LSTM" else 1)]
    state = tuple(h) if kind == "LSTM" else h[0]
    for given in ((x,), (x, state), (x[0],)):
        close(net(*given), module(*given))
    sum(o.square().sum() for o in flat(net(x, state))).backward()
    sum(o.square().sum() for o in flat(module(x, state))).backward()
    names = {"weight_ih": "W", "weight_hh": "R", "bias_ih": "b_x", "bias_hh": "b_h"}
    for name, p in module.named_parameters():
        part, _, place = name.rpartition("_l") if not name.endswith("_reverse") else name.removesuffix("_reverse").rpartition("_l")
        cell = net.cells[int(place) * net.directions + name.endswith("_reverse")]
        close(getattr(cell, names[part]).grad, p.grad)
    back = to_torch(net)
    assert type(back) is type(module) and back.extra_repr() == module.extra_repr() and back.state_dict().keys() == module.state_dict().keys()
    close(list(back.state_dict().values()), list(module.state_dict().values()))
    close(back(x, state), module(x, state))


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_in_a_ragged_model_in_both_directions(kind):
    """Packed sequences that are not sorted, and the last states of each direction."""
    module = theirs(kind, True)
    net = from_torch(module)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    packed = pack_padded_sequence(x, torch.tensor([2, 6, 1, 4]), batch_first=True, enforce_sorted=False)
    (y, state), (z, end) = net(packed), module(packed)
    close(pad_packed_sequence(y)[0], pad_packed_sequence(z)[0])
    close(state, end)
    close(net(x, lengths=[2, 6, 1, 4])[1], end)


@pytest.mark.parametrize(("name", "kind"), [("GRU", "GRU"), ("LSTM", "LSTM"), ("Elman", "tanh"), ("IRNN", "relu")])
def test_published_cells_with_the_same_equations(name, kind):
    """Both ways, with torch.nn's two biases as one where a cell has one, and checkpoints of whole models."""
    cls = getattr(rnndsl.load(ZOO[name].text), name)
    module = theirs(kind, True)
    net = from_torch(module, cls, backend="reference")
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    close(net(x), module(x))
    close(to_torch(net)(x), module(x))
    other = Recurrent(cls, {"D": 3, "H": 4}, 2, True, dtype=torch.float64, backend="reference", stacked_states=True)
    checkpoint = {f"encoder.rnn.{n}": t for n, t in module.state_dict().items()} | {"head.weight": x}
    other.load_state_dict(from_torch_state(checkpoint, other, prefix="encoder.rnn."))
    close(other(x), module(x))
    module.load_state_dict(to_torch_state(net))
    close(net(x), module(x))


@pytest.mark.parametrize(("name", "kind"), [("GRU", "GRU"), ("LSTM", "LSTM"), ("IRNN", "relu")])
def test_a_published_cell_where_there_are_no_biases(name, kind):
    module = theirs(kind, bias=False)
    net = from_torch(module, getattr(rnndsl.load(ZOO[name].text), name))
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    close(net(x), module(x))


def test_everything_else_comes_along():
    """Mode, dropout, dtype, frozen weights; weights lie in memory of their own."""
    module = theirs("LSTM", dtype=torch.float32)
    module.dropout = 0.25
    module.eval()
    for name, p in module.named_parameters():
        p.requires_grad_("l1" in name)
    net = from_torch(module)
    assert not net.training and net.dropout == 0.25 and net.cells[0].W.dtype == torch.float32 and type(net.cells[0]).__name__ == "LSTM"
    assert [p.requires_grad for p in net.parameters()] == [False] * 4 + [True] * 4
    back = to_torch(net)
    assert back.dropout == 0.25 and not back.training and [p.requires_grad for p in back.parameters()] == [False] * 4 + [True] * 4
    before = net.cells[1].W.detach().clone()
    with torch.no_grad():
        module.weight_ih_l1.zero_()
        back.weight_ih_l1.zero_()
    assert torch.equal(before, net.cells[1].W)
    close(pickle.loads(pickle.dumps(net))(torch.ones(1, 2, 3)), net(torch.ones(1, 2, 3)))
    close(copy.deepcopy(net)(torch.ones(1, 2, 3)), net(torch.ones(1, 2, 3)))


def test_weights_are_drawn_as_torch_does():
    net = Recurrent(type(from_torch(theirs("GRU")).cells[0]), {"D": 64, "H": 100})
    for value in net.parameters():
        assert float(value.detach().abs().max()) <= 0.1 and abs(float(value.detach().std()) - 0.1 / 3**0.5) < 0.01


MINIMAL = ZOO["Elman"].text.replace("tanh(", "sin(")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: from_torch(nn.LSTM(3, 4, proj_size=2)), ValueError, "an LSTM with proj_size has other equations"),
        (lambda: from_torch(nn.Linear(3, 4)), TypeError, "module: expected a torch.nn.GRU, LSTM or RNN, got Linear"),
        (lambda: from_torch(nn.GRUCell(3, 4)), TypeError, "got GRUCell; its weights are a layer's with another name"),
        (lambda: from_torch(nn.GRU(3, 4), rnndsl.load(ZOO["MinGRU"].text).MinGRU), ValueError, "are not those of a cell with torch.nn's equations"),
        (lambda: from_torch(nn.RNN(3, 4), rnndsl.load(MINIMAL).Elman), ValueError, "Elman: it does not give the numbers of torch.nn.RNN"),
        (lambda: to_torch(Recurrent(rnndsl.load(MINIMAL).Elman, {"D": 3, "H": 4})), ValueError, "net: Elman has not the equations of torch.nn's GRU, LSTM or RNN"),
        (lambda: to_torch(Recurrent(rnndsl.load(ZOO["ParaGRU"].text).ParaGRU, {"D": 3, "H": 4})), ValueError, "ParaGRU: its params"),
        (lambda: to_torch(Recurrent([rnndsl.load(ZOO["GRU"].text), rnndsl.load(ZOO["LSTM"].text)], {"D": 3, "H": 4})), ValueError, "all of one kind and one size"),
        (lambda: from_torch(nn.GRU(3, 4), type(from_torch(nn.GRU(3, 4, bias=False)).cells[0])), ValueError, "cell: it has no bias, and torch.nn's has one"),
        (lambda: from_torch_state({}, from_torch(nn.GRU(3, 4))), KeyError, "weight_ih_l0"),
    ],
)  # fmt: skip
def test_what_is_no_twin_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
