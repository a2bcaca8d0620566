"""Sequences of values: sums over long times, a chaotic system, spikes.

Hochreiter, Schmidhuber 1997, Long short-term memory (adding); Lorenz 1963, Deterministic nonperiodic flow; Hess et al. 2023, Generalized teacher forcing,
arXiv:2306.04406, which forecasts it; Zenke, Vogels 2021, The remarkable robustness of surrogate gradient learning, whose spikes lie on random smooth curves.
"""

from functools import cache

import torch
from torch import Tensor

from rnndsl.tasks.task import Batch, Draw, Task, at_end

CHANNELS, KINDS, WAVES = 20, 5, 3  # of spikes
STEP = 0.01  # of time, of the Lorenz system
MEAN, SPREAD = (0.0, 0.0, 23.52), (7.92, 9.01, 8.61)  # of its values, by which they are scaled: of 10⁶ on the attractor


def adding(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Values in [0, 1), two of them marked, one in each half; asked at the end is the sum of these. [B, T, 2]."""
    values, marks = draw.uniform(count, length), torch.zeros(count, length)
    half = length // 2
    rows = torch.arange(count)
    marks[rows, draw.below(max(half, 1), count)] = 1
    marks[rows, half + draw.below(length - half, count)] = 1
    targets = torch.full((count, length, 1), torch.nan)
    targets[:, -1, 0] = (values * marks).sum(1)
    return Batch(torch.stack([values, marks], 2), targets)


def lorenz(draw: Draw, count: int, length: int, split: str) -> Batch:
    """Pieces of trajectories on the attractor, scaled; asked at each step is the next value. [B, T, 3]. No two are of one trajectory, where there are enough."""
    whole = trajectories(split, max(10, length.bit_length()))
    rows = torch.cat([draw.orders(1, len(whole))[0] for _ in range(-(-count // len(whole)))])[:count]
    begins = draw.below(whole.shape[1] - length, count)
    values = whole[rows.unsqueeze(1), begins.unsqueeze(1) + torch.arange(length + 1)]
    return Batch(values[:, :-1], values[:, 1:])


@cache
def trajectories(split: str, doublings: int) -> Tensor:
    """A million values and more, in trajectories of 2 ** doublings steps: [N, T, 3]. By Runge and Kutta's fourth order, in float64."""
    steps = 2**doublings
    x = Draw("lorenz", split, "trajectories").normal(max(8, 2**20 // steps), 3).double() + torch.tensor([0.0, 0.0, 25.0]).double()
    for _ in range(1000):  # until it is there
        x = _advanced(x)
    found = [x]
    for _ in range(1, steps):
        found.append(_advanced(found[-1]))
    return ((torch.stack(found, 1) - torch.tensor(MEAN)) / torch.tensor(SPREAD)).float()


def _advanced(x: Tensor) -> Tensor:
    a = _slope(x)
    b = _slope(x + STEP / 2 * a)
    c = _slope(x + STEP / 2 * b)
    return x + STEP / 6 * (a + 2 * b + 2 * c + _slope(x + STEP * c))


def _slope(x: Tensor) -> Tensor:
    u, v, w = x.unbind(1)
    return torch.stack([10 * (v - u), u * (28 - w) - v, u * v - 8 / 3 * w], 1)


def spikes(draw: Draw, count: int, length: int, split: str) -> Batch:
    """One spike a channel, at times that lie on a smooth random curve of its kind; asked at the end is the kind. [B, T, channels]."""
    kinds, along = draw.below(KINDS, count), draw.uniform(count, 1, 1)
    heights, phases = curves()
    frequency = torch.arange(1, WAVES + 1)
    times = (heights[kinds] * torch.sin(2 * torch.pi * (frequency * along + phases[kinds]))).sum(2) / heights[kinds].sum(2)
    places = ((times + 1) / 2 * (length - 1)).round().long()
    return Batch(torch.zeros(count, length, CHANNELS).scatter(1, places.unsqueeze(1), 1.0), at_end(kinds, length))


@cache
def curves() -> tuple[Tensor, Tensor]:
    """Of each kind and channel: heights and phases of the waves that its curve is made of, [kinds, channels, waves]."""
    draw = Draw("spikes", "curves")
    return draw.uniform(KINDS, CHANNELS, WAVES) / torch.arange(1, WAVES + 1), draw.uniform(KINDS, CHANNELS, WAVES)


TASKS = (
    Task("adding", "the sum of the two values that are marked", "Hochreiter, Schmidhuber 1997", adding, 1, (50, 100), (100, 400), width=2, metric="mse", solved=0.01),
    Task("lorenz", "the next value of the Lorenz system", "arXiv:2306.04406", lorenz, 3, (100, 200), (200, 1000), width=3, metric="mse", solved=1e-3, is_system=True),
    Task("spikes", "of which kind a pattern of spikes is", "Zenke, Vogels 2021", spikes, KINDS, (50, 100), (100, 200), width=CHANNELS),
)
