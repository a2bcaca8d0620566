"""Between stacks and torch.nn's GRU, LSTM and RNN: the same weights, the same numbers, both ways.

`torch.rnn`, beside this file, has torch.nn's equations with torch.nn's params. Other cells that have the same equations are known by the names of
their params, and by their numbers: whatever is converted is run once on both sides.
"""

import copy
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from rnndsl.nn.recurrent import Recurrent

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of one layer and direction of torch.nn's
_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?")


class Layout:
    """How a cell holds what one layer of torch.nn's does. theirs: by our names, to those of PARTS; ours: the other way."""

    def __init__(self, names: str, theirs: Callable[[dict[str, Tensor]], dict[str, Tensor]], ours: Callable[[dict[str, Tensor]], dict[str, Tensor]]):
        self.names, self.theirs, self.ours = frozenset(names.split()), theirs, ours


_EACH = {"weight_ih": "W", "weight_hh": "R", "bias_ih": "b_x", "bias_hh": "b_h"}


def _same_theirs(p: dict[str, Tensor]) -> dict[str, Tensor]:
    return {t: p[o] for t, o in _EACH.items() if o in p}


def _same_ours(p: dict[str, Tensor]) -> dict[str, Tensor]:
    none = p["weight_hh"].new_zeros(p["weight_hh"].shape[0])
    return {o: p.get(t, none) for t, o in _EACH.items()}


def _plain_ours(p: dict[str, Tensor]) -> dict[str, Tensor]:
    if any(n in p and bool(p[n].any()) for n in ("bias_ih", "bias_hh")):
        raise ValueError("cell: it has no bias, and torch.nn's has one")
    return {"W": p["weight_ih"], "R": p["weight_hh"]}


def _gates_theirs(p: dict[str, Tensor]) -> dict[str, Tensor]:
    zero = torch.zeros_like(p["b_r"])
    return {
        "weight_ih": torch.cat([p["W_r"], p["W_z"], p["W_n"]]), "weight_hh": torch.cat([p["R_r"], p["R_z"], p["R_n"]]),
        "bias_ih": torch.cat([p["b_r"], p["b_z"], p["b_n"]]), "bias_hh": torch.cat([zero, zero, p["c_n"]]),
    }  # fmt: skip


def _gates_ours(p: dict[str, Tensor]) -> dict[str, Tensor]:
    H = p["weight_hh"].shape[1]
    b, c = (p[n].chunk(3) if n in p else [p["weight_hh"].new_zeros(H)] * 3 for n in ("bias_ih", "bias_hh"))
    W, R = p["weight_ih"].chunk(3), p["weight_hh"].chunk(3)
    matrices = {f"{m}_{g}": v for m, parts in (("W", W), ("R", R)) for g, v in zip("rzn", parts, strict=True)}
    return matrices | {"b_r": b[0] + c[0], "b_z": b[1] + c[1], "b_n": b[2], "c_n": c[2]}


def _one_bias_theirs(p: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"weight_ih": p["W"], "weight_hh": p["R"], "bias_ih": p["b"], "bias_hh": torch.zeros_like(p["b"])}


def _one_bias_ours(p: dict[str, Tensor]) -> dict[str, Tensor]:
    none = p["weight_hh"].new_zeros(p["weight_hh"].shape[0])
    return {"W": p["weight_ih"], "R": p["weight_hh"], "b": p.get("bias_ih", none) + p.get("bias_hh", none)}


LAYOUTS = (
    Layout("W R b_x b_h", _same_theirs, _same_ours),
    Layout("W R", _same_theirs, _plain_ours),
    Layout("W_r W_z W_n R_r R_z R_n b_r b_z b_n c_n", _gates_theirs, _gates_ours),  # examples/gru.rnn
    Layout("W R b", _one_bias_theirs, _one_bias_ours),  # examples/zoo/irnn.rnn
)


def from_torch(module: nn.Module, cell: Any = None, **settings: Any) -> Recurrent:
    """A stack that is a torch.nn.GRU, LSTM or RNN: its weights, its calls, its numbers; states come and go stacked, as there.

    cell: a class with the same equations, such as that of examples/gru.rnn; one with torch.nn's own params if None. settings: backend and schedule.
    Raises TypeError for another module, ValueError for an LSTM with projections and for a cell that does not give the same numbers.
    """
    kind = type(module)
    if kind not in (nn.GRU, nn.LSTM, nn.RNN):
        hint = "; its weights are a layer's with another name" if isinstance(module, nn.RNNCellBase) else ""
        raise TypeError(f"module: expected a torch.nn.GRU, LSTM or RNN, got {kind.__name__}{hint}")
    assert isinstance(module, nn.RNNBase)
    if module.proj_size:
        raise ValueError("module: an LSTM with proj_size has other equations: h[t] = P @ (o * tanh(c[t])); write them as a cell, in two lines more")
    if cell is None:
        name = "ReluRNN" if kind is nn.RNN and module.nonlinearity == "relu" else kind.__name__
        cell = getattr(_cells(), name if module.bias else f"Plain{name}")
    weight = module.weight_ih_l0
    settings = {"device": weight.device, "dtype": weight.dtype} | settings
    net = Recurrent(
        cell, {"D": module.input_size, "H": module.hidden_size}, module.num_layers, module.bidirectional, module.dropout if module.num_layers > 1 else 0.0,
        module.batch_first, stacked_states=True, **settings,
    )  # fmt: skip
    net.dropout = float(module.dropout)
    net.load_state_dict(from_torch_state(module.state_dict(), net))
    if cell.__module__ != _cells().__name__:
        _require_the_same(net, module)
    for cell_, frozen in zip(net.cells, _frozen(module), strict=True):
        for p in cell_.parameters():
            p.requires_grad_(not frozen)
    return net.train(module.training)


def to_torch(net: Recurrent) -> nn.GRU | nn.LSTM | nn.RNN:
    """The torch.nn.GRU, LSTM or RNN that a stack is, with its weights. Raises ValueError where it is none: for other params or sizes, or where the
    numbers differ."""
    kinds = {type(c) for c in net.cells}
    sizes = {c._sizes.get("H") for c in net.cells}
    if len(kinds) > 1 or len(sizes) > 1:
        raise ValueError("net: torch.nn's layers are all of one kind and one size")
    theirs = to_torch_state(net)
    rows, hidden = theirs["weight_hh_l0"].shape
    tried: dict[int, list[tuple[type, dict[str, Any]]]] = {3: [(nn.GRU, {})], 4: [(nn.LSTM, {})], 1: [(nn.RNN, {"nonlinearity": f}) for f in ("tanh", "relu")]}
    weight = theirs["weight_ih_l0"]
    for kind, further in tried.get(rows // hidden, []):
        module = kind(
            weight.shape[1], hidden, net.num_layers, bias="bias_ih_l0" in theirs, batch_first=net.batch_first, bidirectional=net.bidirectional,
            device=weight.device, dtype=weight.dtype, **further,
        )  # fmt: skip
        module.dropout = net.dropout
        module.load_state_dict(theirs)
        try:
            _require_the_same(net, module)
        except ValueError:
            continue
        for name, p in module.named_parameters():
            layer, backward = _place(name)
            p.requires_grad_(any(q.requires_grad for q in net.cells[layer * net.directions + backward].parameters()))
        return module.train(net.training)
    raise ValueError(f"net: {next(iter(kinds)).__name__} has not the equations of torch.nn's GRU, LSTM or RNN")


def from_torch_state(state: Mapping[str, Tensor], net: Recurrent, prefix: str = "") -> dict[str, Tensor]:
    """What `net.load_state_dict` takes, of a state_dict of torch.nn's. prefix: of the names there, as in `encoder.rnn.`. Raises ValueError for a
    stack of other cells, KeyError for a weight that is not there."""
    found: dict[str, Tensor] = {}
    for i, cell in enumerate(net.cells):
        layer, backward = divmod(i, net.directions)
        names = {part: f"{prefix}{part}_l{layer}{'_reverse' if backward else ''}" for part in PARTS}
        parts = {part: state[name].detach() for part, name in names.items() if name in state or part.startswith("weight")}
        found |= {f"cells.{i}.{name}": value for name, value in _layout(cell).ours(parts).items()}
    return found


def to_torch_state(net: Recurrent) -> dict[str, Tensor]:
    """What a torch.nn.GRU, LSTM or RNN takes as its state_dict. Raises ValueError for a stack of other cells."""
    found: dict[str, Tensor] = {}
    for i, cell in enumerate(net.cells):
        layer, backward = divmod(i, net.directions)
        parts = _layout(cell).theirs({n: getattr(cell, n).detach() for n in cell._tensors})
        found |= {f"{part}_l{layer}{'_reverse' if backward else ''}": value.clone() for part, value in parts.items()}
    return found


@cache
def _cells() -> ModuleType:
    from rnndsl.api import load

    return load(Path(__file__).with_name("torch.rnn"))


def _layout(cell: Any) -> Layout:
    names = frozenset(cell._tensors)
    for layout in LAYOUTS:
        if layout.names == names:
            return layout
    ways = "; ".join(" ".join(sorted(layout.names)) for layout in LAYOUTS)
    raise ValueError(f"{type(cell).__name__}: its params ({', '.join(sorted(names))}) are not those of a cell with torch.nn's equations, which are: {ways}")


def _place(name: str) -> tuple[int, bool]:
    """The layer of one of torch.nn's weights, and whether it is of its backward direction."""
    found = _NAME.fullmatch(name)
    assert found is not None
    return int(found[2]), found[3] is not None


def _frozen(module: nn.Module) -> list[bool]:
    """Of each layer and direction, whether none of its weights is trained."""
    found: dict[tuple[int, bool], bool] = {}
    for name, p in module.named_parameters():
        found[_place(name)] = found.get(_place(name), True) and not p.requires_grad
    return [found[key] for key in sorted(found)]


@torch.no_grad()
def _require_the_same(net: Recurrent, module: nn.Module) -> None:
    """Raises ValueError where a stack and one of torch.nn's do not give the same numbers in float64, from states too."""
    ours, theirs = copy.deepcopy(net).to("cpu", torch.float64).eval(), copy.deepcopy(module).to("cpu", torch.float64).eval()
    draw = torch.Generator().manual_seed(0)
    for cell in ours.cells:
        cell.backend = "reference"
    x = torch.randn(3, 4, ours.cells[0]._inputs[0][1][0], generator=draw, dtype=torch.float64)
    batch = 3 if net.batch_first else 4
    ours.stacked_states = True
    begin = [torch.randn(f.shape, generator=draw, dtype=torch.float64) for f in _fields(ours.initial_state(batch))]
    state = begin[0] if len(begin) == 1 else tuple(begin)
    try:
        (y, a), (z, b) = ours(x, state), theirs(x, state)
        same = all(torch.allclose(p, q, rtol=1e-8, atol=1e-8) for p, q in zip([y, *_fields(a)], [z, *_fields(b)], strict=True))
    except (RuntimeError, TypeError, ValueError):
        same = False
    if not same:
        raise ValueError(f"{type(net.cells[0]).__name__}: it does not give the numbers of torch.nn.{type(module).__name__}")


def _fields(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)
