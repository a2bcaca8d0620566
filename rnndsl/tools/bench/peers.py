"""Which cells torch.nn and pararnn-torch have as well, how else they may be written, and where our params go in theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rnndsl import compiler
from rnndsl.checks.cell import Cell
from rnndsl.diagnostics import Source
from rnndsl.tools.bench.candidates import Absent
from rnndsl.tools.bench.same_cell import same_cell
from rnndsl.tools.bench.subject import Subject

Values = dict[str, Tensor]

_GRU = """cell GRU(D, H):
  input x: [D]
  state h: [H]
  param W_r, W_z, W_n: [H, D]
  param R_r, R_z, R_n: [H, H]
  param b_r, b_z, b_n, c_r, c_z, c_n: [H]
  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r + c_r)
  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z + c_z)
  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
  h[t] = (1 - z) * n + z * h[t-1]
  output h
"""
_LSTM = """cell LSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W_i, W_f, W_g, W_o: [H, D]
  param R_i, R_f, R_g, R_o: [H, H]
  param b_i, b_f, b_g, b_o, c_i, c_f, c_g, c_o: [H]
  i = sigmoid(W_i @ x + R_i @ h[t-1] + b_i + c_i)
  f = sigmoid(W_f @ x + R_f @ h[t-1] + b_f + c_f)
  g = tanh(W_g @ x + R_g @ h[t-1] + b_g + c_g)
  c[t] = f * c[t-1] + i * g
  h[t] = sigmoid(W_o @ x + R_o @ h[t-1] + b_o + c_o) * tanh(c[t])
  output h
"""
_STACKED_LSTM = """cell LSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W: [4*H, D]
  param R: [4*H, H]
  param b, c_h: [4*H]
  i, f, g, o = split(W @ x + R @ h[t-1] + b + c_h, 4)
  c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)
  h[t] = sigmoid(o) * tanh(c[t])
  output h
"""
_ELMAN = """cell Elman(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param b, c: [H]
  h[t] = tanh(W @ x + R @ h[t-1] + b + c)
  output h
"""
_PARA_GRU = """cell ParaGRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_r, W_n: [H, D]
  param a_z, a_r, a_n, b_z, b_r, b_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1] + b_z)
  r = sigmoid(W_r @ x + a_r * h[t-1] + b_r)
  n = tanh(W_n @ x + a_n * (r * h[t-1]) + b_n)
  h[t] = (1 - z) * h[t-1] + z * n
  output h
"""
_PARA_LSTM = """cell ParaLSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W_f, W_z, W_o: [H, D]
  param a_f, a_z, a_o, p_f, p_o, b_f, b_z, b_o: [H]
  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1] + b_f)
  z = tanh(W_z @ x + a_z * h[t-1] + b_z)
  c[t] = f * c[t-1] + (1 - f) * z
  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t] + b_o)
  h[t] = o * tanh(c[t])
  output h
"""
_PARA_SLSTM = """cell ParaSLSTM(D, H):
  input x: [D]
  state h, r: [H]
  state l: [H] = -inf
  param W_i, W_f, W_z, W_o: [H, D]
  param a_i, a_f, a_z, a_o, b_i, b_f, b_z, b_o: [H]
  i = W_i @ x + a_i * h[t-1] + b_i
  l[t] = logaddexp(W_f @ x + a_f * h[t-1] + b_f + l[t-1], i)
  g = exp(i - l[t])
  r[t] = (1 - g) * r[t-1] + g * tanh(W_z @ x + a_z * h[t-1] + b_z)
  h[t] = sigmoid(W_o @ x + a_o * h[t-1] + b_o) * r[t]
  output h
"""


@dataclass(frozen=True)
class Peer:
    """A cell of another library: the ways to write it, and its weights made of params under the names of `text`.

    A text in which the params of an entry of `without` are left out is that cell with zeros in their place.
    """

    name: str
    text: str
    without: tuple[str, ...]
    weights: Callable[[Values, int], Values]


def _torch_gru(p: Values, n: int) -> Values:
    return _torch(p, n, "W_r W_z W_n", "R_r R_z R_n", "b_r b_z b_n", "c_r c_z c_n")


def _torch_lstm(p: Values, n: int) -> Values:
    return _torch(p, n, "W_i W_f W_g W_o", "R_i R_f R_g R_o", "b_i b_f b_g b_o", "c_i c_f c_g c_o")


def _torch_stacked(p: Values, n: int) -> Values:
    return _torch(p, 4 * n, "W", "R", "b", "c_h")


def _torch_elman(p: Values, n: int) -> Values:
    return _torch(p, n, "W", "R", "b", "c")


def _torch(p: Values, n: int, *names: str) -> Values:
    fields = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {field: _stacked(p, group, n) for field, group in zip(fields, names, strict=True)}


def _para_gru(p: Values, n: int) -> Values:
    affine = {"W_x.weight": _stacked(p, "W_z W_r W_n", n), "W_x.bias": _stacked(p, "b_z b_r b_n", n)}
    return affine | {k: p[k] for k in ("a_z", "a_r", "a_n")}


def _para_lstm(p: Values, n: int) -> Values:
    affine = {"W_x.weight": _stacked(p, "W_f W_z W_o", n), "W_x.bias": _stacked(p, "b_f b_z b_o", n)}
    return affine | {k: p[k] for k in ("a_f", "a_z", "a_o")} | {"c_f": p["p_f"], "c_o": p["p_o"]}


def _para_slstm(p: Values, n: int) -> Values:
    affine = {"W_x.weight": _stacked(p, "W_i W_f W_z W_o", n), "W_x.bias": _stacked(p, "b_i b_f b_z b_o", n)}
    return affine | {"R": torch.stack([p[k] for k in ("a_i", "a_f", "a_z", "a_o")])}


def _stacked(p: Values, names: str, n: int) -> Tensor:
    """Several params one below the other; n zeros for each vector that the cell does without."""
    some = next(iter(p.values()))
    return torch.cat([p.get(k, some.new_zeros(n)) for k in names.split()])


_GRU_BIASES = ("", "c_r c_z", "c_r c_z c_n", "b_r b_z b_n c_r c_z c_n")
_LSTM_BIASES = ("", "c_i c_f c_g c_o", "b_i b_f b_g b_o c_i c_f c_g c_o")
TORCH = (
    Peer("GRU", _GRU, _GRU_BIASES, _torch_gru),
    Peer("LSTM", _LSTM, _LSTM_BIASES, _torch_lstm),
    Peer("LSTM", _STACKED_LSTM, ("", "c_h", "b c_h"), _torch_stacked),
    Peer("RNN", _ELMAN, ("", "c", "b c"), _torch_elman),
)
PARARNN = (
    Peer("ParaGRU", _PARA_GRU, ("", "b_z b_r b_n"), _para_gru),
    Peer("ParaLSTM", _PARA_LSTM, ("", "b_f b_z b_o"), _para_lstm),
    Peer("ParaSLSTM", _PARA_SLSTM, ("", "b_i b_f b_z b_o"), _para_slstm),
)


def peer_of(subject: Subject, peers: tuple[Peer, ...], library: str = "") -> tuple[str, Values]:
    """What `recognised` gives of a subject's cell. library: what stands before the peers' names. Raises Absent where it is none of them."""
    found = recognised(subject.cell, subject.layer, peers)
    if found is None:
        *others, last = dict.fromkeys(peer.name for peer in peers)
        raise Absent(f"not the same cell: its equations are those of neither {library}{', '.join(others)} nor {last}")
    return found


@cache
def _pattern(text: str, without: str) -> Cell:
    for name in without.split():
        text = text.replace(f" + {name}\n", "\n").replace(f" + {name})", ")").replace(f" + {name} ", " ").replace(f" + {name},", ",")
    return compiler.compiled(Source("peer.rnn", text)).program.cells[0]


def recognised(cell: Cell, layer: Any, peers: tuple[Peer, ...]) -> tuple[str, Values] | None:
    """The peer that a cell is, and the values of its weights for the layer's params; None where it is none of them."""
    for peer in peers:
        for without in peer.without:
            names = same_cell(_pattern(peer.text, without), cell)
            if names is None:
                continue
            values = {k: getattr(layer, own).detach() for k, own in names.items() if own in layer._tensors}
            hidden = layer._fields[0][1][-1]
            try:
                return peer.name, peer.weights(values, int(hidden))
            except (RuntimeError, IndexError):  # shapes that do not stack: heads, where the peer has none
                continue
    return None


def torch_modules(name: str, values: Values) -> tuple[nn.Module, nn.Module]:
    """torch.nn's layer and its cell with these weights."""
    H, D = values["weight_hh"].shape[1], values["weight_ih"].shape[1]
    kind = {"dtype": values["weight_hh"].dtype, "device": values["weight_hh"].device}
    layer = getattr(nn, name)(D, H, batch_first=True, **kind)
    cell = getattr(nn, f"{name}Cell")(D, H, **kind)
    layer.load_state_dict({f"{k}_l0": v for k, v in values.items()})
    cell.load_state_dict(values)
    return layer, cell
