"""Models for a task: an embedding, blocks, a head. Around a cell the blocks are those of rnndsl.nn; baselines stand in the same places."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.explore.candidates import Candidate
from rnndsl.explore.recipe import Training
from rnndsl.explore.shapes import HEADS, Shape
from rnndsl.nn.block import Block, GatedMLP
from rnndsl.nn.forcing import Forecaster
from rnndsl.tasks import Task
from rnndsl.tools import Unfit

MLP = 2.0  # how many times as wide as the model
TAPS = 4
ADAPTED = 5  # steps of training from one look at the Jacobians to the next


class Model(nn.Module):
    """inputs: tokens [B, T] or values [B, T, width]; outputs: [B, T, answers]."""

    def __init__(self, task: Task, dim: int, blocks: list[nn.Module], device: Any = None):
        super().__init__()
        self.embedding = nn.Embedding(task.symbols, dim, device=device) if task.symbols else nn.Linear(task.width, dim, device=device)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(dim, eps=1e-6, device=device)
        self.head = nn.Linear(dim, task.answers, device=device)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.embedding(inputs)
        for block in self.blocks:
            y = block(x)
            x = y[0] if isinstance(y, tuple) else y
        return self.head(self.norm(x))


class System(nn.Module):
    """A cell that foretells a system by its state alone: in training each value from those before, forced; else by itself, from the first value on.

    inputs: values [B, T, width]; outputs: the ones that follow, [B, T, width]. forcing: from 0 to 1, or `adaptive`."""

    def __init__(self, cell: Any, width: int, sizes: dict[str, int], forcing: float | str, device: Any = None):
        super().__init__()
        self.is_adaptive = forcing == "adaptive"
        self.forecaster = Forecaster(cell, width, sizes, alpha=1.0 if isinstance(forcing, str) else forcing, device=device)
        self._calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return self.forecaster.generate(inputs[:, :1], inputs.shape[1])
        if self.is_adaptive and self._calls % ADAPTED == 0:
            self.forecaster.adapt(inputs)
        self._calls += 1
        return self.forecaster(inputs)


def model(candidate: Candidate, task: Task, training: Training, shape: Shape, device: Any = None) -> nn.Module:
    """A model around a candidate. Raises Unfit for a cell that stands in no block, or cannot be forced."""
    is_full, sizes = training.block == "full", dict(shape.sizes)
    if training.forcing is not None:
        if candidate.source is None:
            raise Unfit(f"{candidate.label}: forcing is written into equations, and it has none")
        try:
            return System(candidate.cls, task.width, sizes, training.forcing, device)
        except (TypeError, ValueError) as e:
            raise Unfit(f"{candidate.label} with {shape.text}: {e}") from None

    def block() -> nn.Module:
        if candidate.source is None and candidate.cell == "transformer":
            return Transformer(shape.dim, sizes["mlp"], is_full, device)
        if candidate.source is None:
            return TorchBlock(candidate.cell, shape.dim, sizes["H"], is_full, device)
        try:
            return Block(candidate.cls, shape.dim, sizes, taps=TAPS if is_full else 0, has_gate=is_full, mlp=MLP if is_full else 0.0, device=device)
        except (TypeError, ValueError) as e:
            raise Unfit(f"{candidate.label} with {shape.text}: {str(e).removeprefix('cell: ')}") from None

    return Model(task, shape.dim, [block() for _ in range(training.layers)], device)


class TorchBlock(nn.Module):
    """rnndsl.nn's Block around a layer of torch.nn. kind: as `torch.nn.GRU`."""

    def __init__(self, kind: str, dim: int, hidden: int, is_full: bool, device: Any = None):
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6, device=device)
        self.up = nn.Linear(dim, dim, bias=False, device=device)
        self.conv = nn.Conv1d(dim, dim, TAPS, padding=TAPS - 1, groups=dim, device=device) if is_full else None
        self.cell = getattr(nn, kind.rpartition(".")[2])(dim, hidden, batch_first=True, device=device)
        self.gate = nn.Linear(dim, hidden, bias=False, device=device) if is_full else None
        self.down = nn.Linear(hidden, dim, bias=False, device=device)
        self.mlp_norm = nn.RMSNorm(dim, eps=1e-6, device=device) if is_full else None
        self.mlp = GatedMLP(dim, round(MLP * dim), device) if is_full else None

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm(x)
        u = self.up(n)
        if self.conv is not None:
            u = F.silu(self.conv(u.mT)[..., : u.shape[1]].mT)
        r, _ = self.cell(u)
        if self.gate is not None:
            r = r * F.silu(self.gate(n))
        x = x + self.down(r)
        return x if self.mlp is None or self.mlp_norm is None else x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Causal attention of four heads with rotary positions (Su et al. 2021, RoFormer, arXiv:2104.09864), and an MLP; norms before both. A full one convolves
    queries, keys and values, as other full blocks do what their cells see. dim: a multiple of 8."""

    def __init__(self, dim: int, inside: int, is_full: bool, device: Any = None):
        super().__init__()
        self.norm, self.mlp_norm = (nn.RMSNorm(dim, eps=1e-6, device=device) for _ in range(2))
        self.inward = nn.Linear(dim, 3 * dim, bias=False, device=device)
        self.conv = nn.Conv1d(3 * dim, 3 * dim, TAPS, padding=TAPS - 1, groups=3 * dim, device=device) if is_full else None
        self.outward = nn.Linear(dim, dim, bias=False, device=device)
        self.mlp = GatedMLP(dim, inside, device)

    def forward(self, x: Tensor) -> Tensor:
        u = self.inward(self.norm(x))
        if self.conv is not None:
            u = self.conv(u.mT)[..., : u.shape[1]].mT
        parts = u.unflatten(-1, (3, HEADS, -1)).movedim(2, 0).transpose(2, 3)  # [3, B, heads, T, width]
        q, k, v = _turned(parts[0]), _turned(parts[1]), parts[2]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.outward(y.transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_norm(x))


def _turned(x: Tensor) -> Tensor:
    """x: [..., T, width]; each pair of channels turned by an angle that grows with the step."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** -(torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.outer(torch.arange(x.shape[-2], device=x.device, dtype=torch.float32), rates)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1).to(x.dtype)
