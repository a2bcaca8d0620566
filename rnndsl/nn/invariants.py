"""What remains the same of a chaotic system wherever one begins: by which a model of it is judged, since its trajectories part from the data's soon.

State-space divergence and spectral distance as in Hess et al. 2023, arXiv:2306.04406 (with Brenner et al. 2022, arXiv:2207.02542); Lyapunov exponents by
Benettin, Galgani, Giorgilli, Strelcyn 1980, Lyapunov characteristic exponents for smooth dynamical systems, Meccanica 15, in the form with QR.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_CELLS = 2**24  # of a histogram
SMOOTHING = 1e-5  # what each cell of one has before anything is counted


def state_space_divergence(data: Tensor, generated: Tensor, bins: int = 30) -> float:
    """D_stsp: the Kullback-Leibler divergence, in nats, of where two trajectories are, from histograms; 0 where they visit the same places as often.

    data, generated: [T, N], [T', N]. The range of the data, and a tenth of a standard deviation about it, is cut into `bins` an axis; all that lies outside
    is one cell more (the paper's code leaves it out, by which what is far off may seem nearer). Infinite where what was generated is not finite. Raises
    ValueError for shapes that do not fit, or more than 2²⁴ cells.
    """
    _check(data, generated)
    if bins < 1 or bins ** data.shape[1] > MAX_CELLS:
        raise ValueError(f"bins: {bins} an axis of {data.shape[1]} are not from 1 to {MAX_CELLS} cells")
    if not bool(generated.isfinite().all()):
        return math.inf
    last = bins ** data.shape[1]  # the cell of all that is outside
    around = 0.1 * data.std(0)
    low, high = data.min(0).values - around, data.max(0).values + around

    def shares(x: Tensor) -> Tensor:
        is_inside = ((x >= low) & (x < high)).all(1, keepdim=True)
        place = ((torch.where(is_inside, x, low) - low) / (high - low) * bins).long().clamp(max=bins - 1)
        cells = (place * bins ** torch.arange(x.shape[1], device=x.device)).sum(1)
        counts = torch.bincount(torch.where(is_inside.squeeze(1), cells, last), minlength=last + 1).double() + SMOOTHING
        return counts / counts.sum()

    p, q = shares(data), shares(generated)
    return float((p * (p / q).log()).sum())


def spectral_distance(data: Tensor, generated: Tensor, smoothing: float = 20.0) -> float:
    """D_H: the Hellinger distance, from 0 to 1, of power spectra, each smoothed by a Gaussian of so many frequencies and normalised; the mean over axes.

    data, generated: [T, N] both. 1 where what was generated does not move, or is not finite. Raises ValueError for shapes that do not fit.
    """
    _check(data, generated)
    if data.shape != generated.shape:
        raise ValueError(f"generated: expected {list(data.shape)} as the data, got {list(generated.shape)}")
    if not bool(generated.isfinite().all()):
        return 1.0
    p, q = _spectrum(data, smoothing), _spectrum(generated, smoothing)
    return float((1 - (p * q).sqrt().sum(0)).clamp(min=0).sqrt().mean())


def _spectrum(x: Tensor, smoothing: float) -> Tensor:
    """Shares of power by frequency, [frequencies, N]; zeros for an axis that does not move."""
    power = torch.fft.rfft(x.double() - x.double().mean(0), dim=0).abs().square()
    if smoothing > 0:
        reach = min(int(4 * smoothing + 0.5), len(power) - 1)
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device).double() / smoothing) ** 2)
        padded = F.pad(power.T.unsqueeze(1), (reach, reach), mode="reflect")
        power = F.conv1d(padded, (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).T
    whole = power.sum(0)
    return torch.where(whole > 0, power / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.0)


def lyapunov_exponents(jacobians: Tensor, count: int | None = None, dt: float = 1.0) -> Tensor:
    """The largest `count` Lyapunov exponents, or all of them, in nats a unit of time, from the Jacobians of successive steps along trajectories.

    jacobians: [T, n, n], or [B, T, n, n] of several trajectories, whose mean it is. dt: the time of a step. The first tenth of the steps turns the
    directions, and is not counted. Returns [count], in falling order where T is large. Raises ValueError for another shape.
    """
    if jacobians.dim() not in (3, 4) or jacobians.shape[-1] != jacobians.shape[-2] or jacobians.shape[-3] < 1:
        raise ValueError(f"jacobians: expected [T, n, n] or [B, T, n, n] with a step at least, got {list(jacobians.shape)}")
    every = jacobians if jacobians.dim() == 4 else jacobians.unsqueeze(0)
    batch, steps, n, _ = every.shape
    directions = torch.eye(n, dtype=every.dtype, device=every.device)[:, :count].expand(batch, -1, -1)
    grown, begin = every.new_zeros(batch, directions.shape[2]), steps // 10
    for t in range(steps):
        directions, r = torch.linalg.qr(every[:, t] @ directions)
        if t >= begin:
            grown = grown + r.diagonal(dim1=1, dim2=2).abs().log()
    return grown.mean(0) / ((steps - begin) * dt)


def jacobians(step: Callable[[Any], Any], state: Any) -> Tensor:
    """∂ step(state) / ∂ state of a batch: [B, n, n], n being the values of all fields, one behind the other.

    step: a function of a state that gives the next one, each row by itself, for any batch; of a layer without inputs of interest `lambda s:
    layer.step(x.expand(len(s[0]), -1), s)[1]`. state: a named tuple of real fields [B, ...]. Surrogate derivatives are taken for the true ones. Raises
    ValueError for fields that are not real numbers.
    """
    fields = list(state)
    if not fields or not all(f.is_floating_point() for f in fields):
        raise ValueError("state: expected fields of real numbers")
    batch, sizes = fields[0].shape[0], [f[0].numel() if len(f) else f.shape[1:].numel() for f in fields]
    n = sum(sizes)
    with torch.enable_grad():
        rows = torch.cat([f.detach().reshape(batch, k) for f, k in zip(fields, sizes, strict=True)], 1).repeat(n, 1).requires_grad_()
        parts = rows.split(sizes, 1)
        after = step(type(state)(*(p.reshape(-1, *f.shape[1:]) for p, f in zip(parts, fields, strict=True))))
        flat = torch.cat([f.reshape(n * batch, k) for f, k in zip(after, sizes, strict=True)], 1)
        (found,) = torch.autograd.grad(flat, rows, torch.eye(n, dtype=flat.dtype, device=flat.device).repeat_interleave(batch, 0))
    return found.reshape(n, batch, n).transpose(0, 1)


def _check(data: Tensor, generated: Tensor) -> None:
    if data.dim() != 2 or len(data) < 2 or generated.dim() != 2 or not len(generated) or data.shape[1] != generated.shape[1]:
        raise ValueError(f"expected data [T, N] and generated [T', N], got {list(data.shape)} and {list(generated.shape)}")
    if not bool(data.isfinite().all()) or not bool((data != data[0]).any(0).all()):
        raise ValueError("data: expected finite values that move along each axis")
