"""A residual block around any cell: norm, causal convolution, cell, gate, projection, and perhaps an MLP."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.nn.parts import heard, sequences_of
from rnndsl.nn.ragged import EndToEnd, Whole
from rnndsl.nn.recurrent import Recurrent
from rnndsl.nn.shapes import cell_class, header_of, input_size_of


class BlockState(NamedTuple):
    """What a block carries from step to step. conv: the last inputs of the convolution, [B, taps - 1, D], the latest last; cell: the cell's state."""

    conv: Tensor
    cell: Any


class CausalConv(nn.Module):
    """A convolution over time, each channel by itself, of the present step and those before: y[t] = b + Σ w[j] x[t - j]."""

    def __init__(self, channels: int, taps: int, device: Any = None, dtype: Any = None):
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.empty(taps, channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = self.taps**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, before: Tensor, sequences: Whole, reset: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x: [B, T, D]; before: [B, taps - 1, D], what came before it; sequences: where they begin and end; reset: bool [B, T], before which steps there
        is nothing. Returns the same as x, and of each of N sequences what comes before the step behind its end, [N, taps - 1, D], None where another rank has
        it."""
        past, steps = self.taps - 1, x.shape[1]
        if isinstance(sequences, EndToEnd):
            reset = sequences.resets(reset, False)
        before, earlier, reset = sequences.beside(x, before, reset)
        whole = torch.cat([before.to(x.dtype), x], 1)
        y, count = self.bias.to(x.dtype).expand_as(x), None
        if reset is not None:  # steps that are behind as many resets belong together
            count = (F.pad(reset, (past, 0)) if earlier is None else torch.cat([earlier, reset], 1)).cumsum(1).unsqueeze(-1)
        for j in range(self.taps):
            tap = whole[:, past - j : past - j + steps]
            if count is not None and j:
                tap = torch.where(count[:, past - j : past - j + steps] == count[:, past:], tap, torch.zeros_like(tap))
            y = y + self.weight[j].to(x.dtype) * tap
        rows, ends = (of.unsqueeze(1) for of in sequences.ends(x.device))
        index = ends + torch.arange(past, device=x.device)
        last = whole[rows, index]
        if count is not None and past:
            is_own = count[rows, index] == count[rows, (ends + past - 1).clamp(min=0)]
            if isinstance(sequences, EndToEnd):  # one without a step has nothing of the one before it
                is_own = is_own & (sequences.borders.diff() > 0).view(-1, 1, 1)
            last = torch.where(is_own, last, torch.zeros_like(last))
        return y, sequences.kept(last)


class Block(nn.Module):
    """x + projection(gate * cell(convolution(input))), and perhaps + MLP: a layer [B, T, dim] to [B, T, dim] of a deep model.

    cell: a generated class with one vector in, `input x: [D]`, and one out. sizes: its header's names; D is `dim` where it is not given. taps: steps
    that the convolution before the cell sees, 0 for none. has_gate: whether what comes out of the cell is multiplied by silu of a gate. mlp: how
    many times as wide as `dim` the MLP is inside, 0 for none. dropout: of both branches. Raises TypeError or ValueError for a cell or sizes that do
    not fit.
    """

    def __init__(
        self, cell: Any, dim: int, sizes: Mapping[str, Any] | None = None, *, taps: int = 4, has_gate: bool = True, mlp: float = 0.0, dropout: float = 0.0,
        device: Any = None, dtype: Any = None, backend: str = "auto", schedule: str = "auto",
    ):  # fmt: skip
        super().__init__()
        if taps < 0:
            raise ValueError(f"taps: expected how many steps the convolution sees, got {taps}")
        cls, kind = cell_class(cell), {"device": device, "dtype": dtype}
        given = dict(sizes or {})
        name = input_size_of(cls, given)
        given.setdefault(name, dim)
        unknown = [n for n in given if n not in header_of(cls)]
        if unknown:
            raise ValueError(f"sizes: there is no {unknown[0]!r}; {cls.__name__} has {', '.join(header_of(cls))}")
        self.cell = Recurrent(cls, given, backend=backend, schedule=schedule, **kind)
        inside, out = int(given[name]), self._width(cls)
        self.dim = dim
        self.norm = nn.RMSNorm(dim, eps=1e-6, **kind)
        self.up = nn.Linear(dim, inside, bias=False, **kind)
        self.conv = CausalConv(inside, taps, **kind) if taps else None
        self.gate = nn.Linear(dim, out, bias=False, **kind) if has_gate else None
        self.down = nn.Linear(out, dim, bias=False, **kind)
        self.mlp = GatedMLP(dim, round(mlp * dim), **kind) if mlp else None
        self.mlp_norm = nn.RMSNorm(dim, eps=1e-6, **kind) if mlp else None
        self.dropout = nn.Dropout(dropout)

    def _width(self, cls: type) -> int:
        """How many values come out of the cell. Raises ValueError unless it has one vector in and one out."""
        if len(self.cell.inputs) != 1 or len(self.cell.outputs[0]) != 1:
            given = [", ".join(names) or "nothing" for names in (self.cell.inputs, self.cell.outputs[0])]
            raise ValueError(f"cell: a block needs one with one vector in and one out; {cls.__name__} has {given[0]} in, and {given[1]} out")
        axes, is_complex = self.cell.out
        if len(axes) != 1 or is_complex:
            raise ValueError(f"cell: a block needs one that gives a real vector; {cls.__name__} gives {'complex ' if is_complex else ''}[{', '.join(map(str, axes))}]")
        return axes[0]

    @heard
    def forward(
        self, x: Tensor, state: BlockState | None = None, lengths: Any = None, reset: Tensor | None = None, cu_seqlens: Any = None, *, group: Any = None
    ) -> tuple[Tensor, BlockState | None]:
        """x: [B, T, dim]; state: what an earlier call returned; lengths: whole numbers [B], of sequences with padding behind them; reset: bool [B, T], before
        which steps a sequence starts anew; cu_seqlens: [N + 1], where each of N sequences begins that stand end to end in a batch of one, and where the last
        one ends; group: ranks over which time is divided, as `Recurrent` takes it. Returns (y, state), y as x, whose padding is of no use, the state that of
        each sequence's end, None where another rank has it."""
        sequences = sequences_of(self, group, lengths, cu_seqlens, x, state)
        if isinstance(sequences, EndToEnd) and state is not None:  # a state cannot be given to a sequence inside a row
            y, after = self(sequences.apart(x), state, sequences.padded(), None if reset is None else sequences.apart(reset))
            return sequences.joined(y), after
        run = sequences.runner(self.norm, self.up, self.conv, self.gate, self.down, self.mlp, self.mlp_norm)
        n = run(self.norm, x)
        u = run(self.up, n)
        conv = self._before(x, state)
        if self.conv is not None:
            u, conv = run(self.conv, u, conv, sequences, reset)
            u = F.silu(u)
        else:
            conv = conv.expand(sequences.count, -1, -1)
        r, cell = self.cell(u, None if state is None else state.cell, lengths=sequences, reset=reset)
        y = sequences.attached(self._joined(x, n, r, run))
        return y, None if cell is None else BlockState(conv, cell)

    def step(self, x: Tensor, state: BlockState | None = None) -> tuple[Tensor, BlockState]:
        """One step: x [B, dim], the numbers of `forward`."""
        n = self.norm(x)
        u = self.up(n)
        conv = self._before(x, state)
        if self.conv is not None:
            u, conv = self.conv(u.unsqueeze(1), conv, Whole(x.shape[0], 1))
            u = F.silu(u.squeeze(1))
        r, cell = self.cell.step(u, None if state is None else state.cell)
        return self._joined(x, n, r, lambda module, *given: module(*given)), BlockState(conv, cell)

    def initial_state(self, batch_size: int) -> BlockState:
        """The state that `forward` starts from."""
        return BlockState(self._before(self.up.weight.new_empty(batch_size, 0), None), self.cell.initial_state(batch_size))

    def _before(self, x: Tensor, state: BlockState | None) -> Tensor:
        """What came before, of the convolution."""
        if state is not None:
            return state.conv
        taps = self.conv.taps if self.conv is not None else 1
        return x.new_zeros(x.shape[0], taps - 1, self.up.out_features)

    def _joined(self, x: Tensor, n: Tensor, r: Tensor, run: Callable[..., Tensor]) -> Tensor:
        """What the branches add to x. n: x after its norm; r: what came out of the cell; run: what calls modules."""
        r = r.to(x.dtype)
        if self.gate is not None:
            r = r * F.silu(run(self.gate, n))
        x = x + self.dropout(run(self.down, r))
        if self.mlp is not None and self.mlp_norm is not None:
            x = x + self.dropout(run(self.mlp, run(self.mlp_norm, x)))
        return x


class GatedMLP(nn.Module):
    """down(silu(gate x) * up x)."""

    def __init__(self, dim: int, inside: int, device: Any = None, dtype: Any = None):
        super().__init__()
        self.up = nn.Linear(dim, 2 * inside, bias=False, device=device, dtype=dtype)
        self.down = nn.Linear(inside, dim, bias=False, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)
