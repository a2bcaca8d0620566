"""Recurrent cells, and what a mathematician would say of each: its components in solve order.

The published ones are the files of examples/zoo; only what is expected of them stands here. At the end come a few that were made
for the tests.

A component is written `states: family structure slots`, with `, invariant` where an affine one multiplies its state by the same
values at every step. Conventions:

* diagonal: one old value a channel, everything elementwise. block k: k old values coupled in each channel, `h[t-2]` counting as
  one, and a complex state whose real and imaginary parts are read apart as two. head: products stay inside a head. left, right: a
  matrix state multiplied from one side only. dense: the rest. A matrix state that decays by entries, rows, columns or heads and gets
  an outer product added is diagonal: `diag(a) @ S` scales.
* A state that reads no own past is a component of its own, affine and diagonal.
* A family is that of the equations in the old states, everything else given: max-plus is built of max and +, log-semiring of
  logaddexp and +; relu(a + m) is max(a + m, 0), softplus(a + l) is logaddexp(a + l, 0). `min` is nonlinear: a min-plus
  recurrence has an exact scan in the negated state, which is for the program to write. So is anything that leaves its semiring.
* slots are counted for the whole component, also where it is dense.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "examples" / "zoo"


@dataclass(frozen=True)
class Expected:
    """One cell, its components as text, and the boxes that its states are proven to stay in."""

    text: str
    components: tuple[str, ...]
    boxes: dict[str, tuple[float, float]]


def name_of(text: str) -> str:
    """The cell of a program that holds one."""
    (name,) = re.findall(r"^cell (\w+)", text, re.M)
    return name


PUBLISHED = {name_of(text): text for text in (p.read_text(encoding="utf-8") for p in sorted(FOLDER.glob("*.rnn")))}
ZOO: dict[str, Expected] = {}


def _published(name: str, *components: str, **boxes: tuple[float, float]) -> None:
    assert name not in ZOO
    ZOO[name] = Expected(PUBLISHED[name], components, boxes)


def _made(text: str, *components: str, **boxes: tuple[float, float]) -> None:
    assert name_of(text) not in PUBLISHED | ZOO
    ZOO[name_of(text)] = Expected(text.lstrip("\n"), components, boxes)


UNIT = (-1.0, 1.0)
TANH_ONE = (-0.7615941559557649, 0.7615941559557649)
POSITIVE = (0.0, float("inf"))

# Dense

_published("Elman", "h: nonlinear dense 1", h=UNIT)
_published("Jordan", "s y: nonlinear dense 2", s=(0.0, 2.0), y=(0.0, 1.0))
_published("IRNN", "h: nonlinear dense 1", h=POSITIVE)
_published("LeakyESN", "h: nonlinear dense 1", h=UNIT)
_published("CTRNN", "y: nonlinear dense 1")
_published("MIRNN", "h: nonlinear dense 1", h=UNIT)
_published("ClockworkRNN", "h: nonlinear dense 1", h=UNIT)
_published("GRU", "h: nonlinear dense 1", h=UNIT)
_published("GRUv1", "h: nonlinear dense 1", h=UNIT)
_published("LSTM", "c h: nonlinear dense 2", h=UNIT)
_published("PeepholeLSTM", "c h: nonlinear dense 2", h=UNIT)
_published("CIFG", "c h: nonlinear dense 2", h=TANH_ONE, c=UNIT)
_published("LayerNormLSTM", "c h: nonlinear dense 2", h=UNIT)
_published("ZoneoutLSTM", "c h: nonlinear dense 2", h=UNIT)
_published("MultiplicativeLSTM", "c h: nonlinear dense 2", h=UNIT)
_published("PhasedLSTM", "c h: nonlinear dense 2")
_published("MGU", "h: nonlinear dense 1", h=UNIT)
_published("UGRNN", "h: nonlinear dense 1", h=UNIT)
_published("JANET", "c: nonlinear dense 1")
_published("STAR", "h: nonlinear dense 1", h=TANH_ONE)
_published("MinimalRNN", "h: nonlinear dense 1", h=UNIT)
_published("CFN", "h: nonlinear dense 1", h=(-1.96117976, 1.96117976))
_published("RAN", "c h: nonlinear dense 2", h=UNIT)
_published("LiGRU", "h: nonlinear dense 1", h=POSITIVE)
_published("ATR", "h: nonlinear dense 1")
_published("SCRN", "s: affine diagonal 1, invariant", "h: nonlinear dense 1", h=(0.0, 1.0))
_published("RHN", "s: nonlinear dense 1")
_published("FastWeights", "A h: nonlinear dense 2")
_published("GRUD", "last: affine diagonal 1", "h: nonlinear dense 1", h=UNIT)
_published("GRUODE", "h: nonlinear dense 1", h=UNIT)
_published("FastGRNN", "h: nonlinear dense 1")
_published("LowRankRNN", "h: nonlinear dense 1")
_published("AntisymmetricRNN", "h: nonlinear dense 1")
_published("LipschitzRNN", "h: nonlinear dense 1")
_published("ExpRNN", "h: nonlinear dense 1")
_published("HouseholderRNN", "h: nonlinear dense 1", h=UNIT)
_published("CoRNN", "z y: nonlinear dense 2")
_published("LEM", "z y: nonlinear dense 2", y=UNIT, z=UNIT)
_published("LTC", "h: nonlinear dense 1")
_published("CfC", "h: nonlinear dense 1", h=UNIT)
_published("PLRNN", "z: nonlinear dense 1")
_published("ShallowPLRNN", "z: nonlinear dense 1")
_published("DendriticPLRNN", "z: nonlinear dense 1")
_published("NBRC", "h: nonlinear dense 1", h=UNIT)
_published("LMU", "m h: nonlinear dense 2", h=UNIT)
_published("LinearLMU", "m: affine dense 1, invariant")
_published("RLS", "P: nonlinear dense 1", "w: affine dense 1")
_published("RecurrentLIF", "s i u: nonlinear dense 3", s=(0.0, 1.0))

# Per channel

_published("IndRNN", "h: nonlinear diagonal 1", h=POSITIVE)
_published("ParaGRU", "h: nonlinear diagonal 1", h=UNIT)
_published("ParaLSTM", "c h: nonlinear block 2", h=TANH_ONE, c=UNIT)
_published("BRC", "h: nonlinear diagonal 1", h=UNIT)
_published("SRU", "c: nonlinear diagonal 1")
_published("LrcSSM", "h: nonlinear diagonal 1")
_published("UnICORNN", "z y: nonlinear block 2")
_published("LIF", "u: nonlinear diagonal 1")
_published("PLIF", "u: nonlinear diagonal 1")
_published("AdaptiveLIF", "a u: nonlinear block 2", a=(0.0, 1.0))
_published("Izhikevich", "v u: nonlinear block 2")
_published("Kalman", "p: nonlinear diagonal 1", "m: affine diagonal 1")
_published("RKN", "p q s: nonlinear block 3", "u l: affine block 2")

# Exact scans

_published("EMA", "h: affine diagonal 1, invariant")
_published("MegaEMA", "h: affine diagonal 1, invariant")
_published("QRNN", "c: affine diagonal 1", c=UNIT)
_published("TRNN", "h: affine diagonal 1")
_published("MinGRU", "h: affine diagonal 1")
_published("MinLSTM", "h: affine diagonal 1")
_published("HGRN", "h: affine diagonal 2")
_published("RGLRU", "h: affine diagonal 1")
_published("LRU", "h: affine diagonal 2, invariant")
_published("S5", "h: affine diagonal 2, invariant")
_published("S4D", "h: affine diagonal 2, invariant")
_published("LinOSS", "z y: affine block 2, invariant")
_published("Mamba", "h: affine diagonal 1")
_published("Mamba2", "S: affine diagonal 1")
_published("Mamba3", "S: affine diagonal 2")
_published("LinearAttention", "S: affine diagonal 1, invariant", "z: affine diagonal 1, invariant", z=POSITIVE)
_published("RetNet", "S: affine diagonal 1, invariant")
_published("GLA", "S: affine diagonal 1")
_published("HGRN2", "S: affine diagonal 1")
_published("MesaNet", "H: affine diagonal 1", "S: affine diagonal 1")
_published("RWKV4", "p: max-plus diagonal 1", "a: affine diagonal 1", "b: affine diagonal 1", b=POSITIVE)
_published("RWKV6", "S: affine diagonal 1")
_published("Longhorn", "S: affine diagonal 1")
_published("Cusum", "g: max-plus diagonal 1", g=POSITIVE)

# Matrix states and heads

_published("DeltaNet", "S: affine left 1")
_published("GatedDeltaNet", "S: affine left 1")
_published("DeltaProduct", "S: affine left 1")
_published("KDA", "S: affine left 1")
_published("RWKV7", "S: affine right 1")
_published("Titans", "S M: affine left 2")
_published("MLSTM", "m: max-plus diagonal 1", "C: affine diagonal 1", "n: affine diagonal 1")
_published("SLSTM", "l r h: nonlinear head 3")
_published("PublishedSLSTM", "m c n h: nonlinear head 4", n=POSITIVE)
_published("M2RNN", "H: nonlinear right 1", H=UNIT)

# Made for the tests

_made("""
cell ManyLMU(D, H, M):
  "One memory of order M for each of H signals."
  input x: [D]
  state m: [M, H]
  const A: [M, M]
  const b: [M]
  param W: [H, D]
  m[t] = A @ m[t-1] + outer(b, W @ x)
  output y = b @ m[t]
""", "m: affine left 1, invariant")
_made("""
cell AR2(H):
  input x: [H]
  state h: [H]
  param a, b: [H]
  h[t] = a * h[t-1] + b * h[t-2] + x
  output h
""", "h: affine block 2, invariant")
_made("""
cell Running(D, H):
  "Sums, counts, means, maxima and soft maxima over time."
  input x: [D]
  state total, top: [H] = -inf
  state n: []
  state sum_x, soft: [H]
  param W: [H, D]
  u = W @ x
  n[t] = n[t-1] + 1
  sum_x[t] = sum_x[t-1] + u
  total[t] = logaddexp(total[t-1], u)
  top[t] = max(top[t-1], u)
  soft[t] = softplus(soft[t-1] + u)
  output mean_x = sum_x[t] / n[t], top, total, soft
""", "n: affine diagonal 1, invariant", "sum_x: affine diagonal 1, invariant", "total: log-semiring diagonal 1",
   "top: max-plus diagonal 1", "soft: log-semiring diagonal 1", n=POSITIVE, soft=POSITIVE)
_made("""
cell ResettableMax(H):
  input x: [H]
  input start: []
  state m: [H]
  m[t] = max(where(start > 0, -inf, m[t-1]), x)
  output m
""", "m: max-plus diagonal 1")
_made("""
cell Feedforward(D, H):
  input x: [D]
  state h, g: [H]
  param W: [H, D]
  h[t] = tanh(W @ x)
  g[t] = 0.5 * g[t-1] + h[t-1]
  output g
""", "h: affine diagonal 1", "g: affine diagonal 1, invariant")
_made("""
cell ConjugateGate(D, H):
  "A widely linear complex filter: real and imaginary parts are read apart."
  input x: [D]
  state h: complex [H]
  param a, b: complex [H]
  param B: complex [H, D]
  h[t] = a * h[t-1] + b * conj(h[t-1]) + B @ x
  output y = re(h[t])
""", "h: affine block 2, invariant")
_made("""
cell ModReLU(D, H):
  "A unitary cell with phases alone as its recurrence."
  input x: [D]
  state h: complex [H]
  param th, b: [H]
  param B: complex [H, D]
  z = exp(1j * th) * h[t-1] + B @ x
  h[t] = z * relu(abs(z) + b) / (abs(z) + 1e-5)
  output y = re(h[t])
""", "h: nonlinear block 2")
_made("""
cell LorenzStyle(D, H, dt = 0.01):
  "Three values a channel, one of which the first alone reads."
  input x: [D]
  state a, b, c: [H]
  param W: [H, D]
  param p: [H]
  a[t] = a[t-1] + dt * (b[t-1] - a[t-1]) + W @ x
  b[t] = b[t-1] + dt * (a[t-1] * (p - c[t-1]) - b[t-1])
  c[t] = c[t-1] + dt * (a[t-1] * b[t-1] - c[t-1])
  output a
""", "a b c: nonlinear block 3")
