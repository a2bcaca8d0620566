"""Generalised teacher forcing: a cell that foretells a system by its state alone, drawn to the data while it is trained.

Hess, Monfared, Brenner, Durstewitz 2023, Generalized teacher forcing for learning chaotic dynamics, ICML, arXiv:2306.04406; Doya 1992, Bifurcations in the
learning of recurrent neural networks. Before each step the state z becomes (1 - α) z + α ẑ, ẑ being what the data say of it. Forcing is written into the
equations of the cell, so a whole sequence is one call of one layer, on every backend.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnndsl.nn.checkpoint import cell_of
from rnndsl.nn.invariants import jacobians, lyapunov_exponents
from rnndsl.nn.shapes import cell_class, header_of
from rnndsl.runtime.program import program_of
from rnndsl.syntax import ast


class Forecaster(nn.Module):
    """A cell that runs freely, and what is seen of it: x[t] = B z[t], z being one of its states. The cell's own inputs are zero.

    cell: a generated class. width: how many values are observed. sizes: of the cell's header; sizes that only its inputs have are 1 where they are not given.
    state: which one is observed and forced, a real vector; the first where it is None. alpha: how strongly, from 0 (not at all) to 1 (the state is what the
    data say). has_read_out: whether B is learned, and ẑ its pseudo-inverse of the data; if not, the first `width` entries of the state are the observations,
    and these alone are forced. Raises TypeError or ValueError for what does not fit.
    """

    _alpha: Tensor  # of each entry of the state

    def __init__(
        self, cell: Any, width: int, sizes: Mapping[str, Any], *, state: str | None = None, alpha: float = 1.0, has_read_out: bool = False,
        device: Any = None, dtype: Any = None, backend: str = "auto", schedule: str = "auto",
    ):  # fmt: skip
        super().__init__()
        cls = cell_class(cell)
        fields: Any = cls(**_complete(cls, sizes), device="meta")._fields
        self.state: str = state if state is not None else next((name for name, _, _ in fields), "")
        self.cell = forced(cls, self.state)(**_complete(cls, sizes), device=device, dtype=dtype, backend=backend, schedule=schedule)
        (self.size,) = next(shape for name, shape, _ in self.cell._fields if name == self.state)
        if not 1 <= width <= self.size:
            raise ValueError(f"width: expected from 1 to {self.size}, the entries of {self.state}, got {width}")
        self.width = width
        self.read_out = nn.Linear(self.size, width, bias=False, device=device, dtype=dtype) if has_read_out else None
        kind = {"device": device, "dtype": dtype}
        self.register_buffer("_alpha", torch.empty(self.size, **kind))
        self.alpha = alpha

    @property
    def alpha(self) -> float:
        """How strongly the state is forced."""
        return float(self._alpha[0])

    @alpha.setter
    def alpha(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"alpha: expected from 0 to 1, got {value!r}")
        count = self.size if self.read_out is not None else self.width  # entries that the data say something of
        self._alpha = (torch.arange(self.size) < count).to(self._alpha) * value

    def observed(self, z: Tensor) -> Tensor:
        """What is seen of states [..., H]: [..., width]."""
        return z[..., : self.width] if self.read_out is None else self.read_out(z)

    @torch.no_grad()
    def signal(self, values: Tensor) -> Tensor:
        """What data [..., width] say of the state, [..., H]: the smallest one that would be seen so; no gradient goes through it."""
        values = values.to(self._alpha.dtype)
        if self.read_out is None:
            return nn.functional.pad(values, (0, self.size - self.width))
        return values @ torch.linalg.pinv(self.read_out.weight).mT

    def forward(self, values: Tensor) -> Tensor:
        """The value that follows each of values [B, T, width], as the forced state foretells it: [B, T, width], to be held against values one step later."""
        return self.observed(self._forced(values)[1][self.state])

    @torch.no_grad()
    def trajectory(self, values: Tensor, steps: int) -> Any:
        """The states that the cell goes through by itself after values [B, T, width], which may be one step: fields [B, steps, ...], the first of which is
        foretold from the last value."""
        if steps < 1:
            raise ValueError(f"steps: expected one at least, got {steps}")
        ended, _ = self._forced(values)
        free, _ = self._free(ended, steps - 1)
        return self.cell.State(*(torch.cat([e.unsqueeze(1), free[n]], 1) for n, e in ended._asdict().items()))

    @torch.no_grad()
    def generate(self, values: Tensor, steps: int) -> Tensor:
        """What is seen of `trajectory`: [B, steps, width]."""
        return self.observed(getattr(self.trajectory(values, steps), self.state))

    def jacobians(self, state: Any) -> Tensor:
        """∂ next state / ∂ state without forcing, at states of fields [B, ...]: [B, n, n], of all fields one behind the other."""
        return jacobians(lambda s: self._free(s, 1)[1], state)

    def lyapunov_exponents(self, values: Tensor, steps: int, count: int | None = None, dt: float = 1.0) -> Tensor:
        """Those of the cell along the trajectories of so many steps after values [B, T, width], of which it takes the mean: [count]. See
        `invariants.lyapunov_exponents`."""
        states = self.trajectory(values, steps)
        at = self.jacobians(type(states)(*(f.flatten(0, 1) for f in states)))
        return lyapunov_exponents(at.unflatten(0, (-1, steps)), count, dt)

    @torch.no_grad()
    def adapt(self, values: Tensor, decay: float = 0.999) -> float:
        """Sets alpha by `adapted`, from the Jacobians at what values [B, T, width] say of the state, other states being initial. Returns it."""
        z = self.signal(values)
        at = self.cell.initial_state(z.shape[0] * z.shape[1])._replace(**{self.state: z.flatten(0, 1)})
        begin = sum(f[0].numel() for f in at[: at._fields.index(self.state)])
        own = slice(begin, begin + self.size)
        self.alpha = adapted(self.alpha, self.jacobians(at)[:, own, own].unflatten(0, z.shape[:2]), decay)
        return self.alpha

    def _forced(self, values: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The state after values [B, T, width], and those after each step. It begins as the first value says."""
        if values.dim() != 3 or values.shape[1] < 1 or values.shape[2] != self.width:
            raise ValueError(f"values: expected [B, T, {self.width}] with a step at least, got {list(values.shape)}")
        signal = self.signal(values)
        first = self.cell.initial_state(values.shape[0])
        _, ended, states = self._run(first._replace(**{self.state: signal[:, 0].to(getattr(first, self.state).dtype)}), signal, self._alpha)
        return ended, states

    def _free(self, state: Any, steps: int) -> tuple[dict[str, Tensor], Any]:
        """The states of so many steps without forcing, and the last one."""
        z = getattr(state, self.state)
        _, ended, states = self._run(state, z.new_zeros(z.shape[0], steps, self.size), torch.zeros_like(self._alpha))
        return states, ended

    def _run(self, state: Any, signal: Tensor, alpha: Tensor) -> Any:
        """A call of the cell with all states."""
        own = [signal if name == SIGNAL else signal.new_zeros(*signal.shape[:2], *shape) for name, shape, _ in self.cell._inputs]
        return functional_call(self.cell, {ALPHA: alpha}, tuple(own), {"state": state, "all_states": True})


def adapted(alpha: float, at: Tensor, decay: float = 0.999) -> float:
    """The next alpha of adaptive forcing: 1 - 1/n, where it is larger than the last one; else the last one goes slowly towards it.

    at: Jacobians of T steps along sequences, [B, T, n, n]. n bounds how a gradient grows a step: of each sequence the geometric mean over its steps of the
    Jacobians' largest singular values, of which the largest counts. decay: what is kept of the last alpha where it falls.
    """
    norms = torch.linalg.matrix_norm(at, 2).clamp(min=torch.finfo(at.dtype).tiny)
    bound = float(norms.log().mean(1).max().exp())
    wanted = max(0.0, 1 - 1 / bound)
    return wanted if wanted > alpha else decay * alpha + (1 - decay) * wanted


# Forcing in the equations

SIGNAL, ALPHA = "forcing_signal", "forcing_alpha"  # an input and a const of the forced cell
_BEFORE = (ast.Binary("-", ast.Name("t"), ast.Number(1.0, "1")),)


def forced(cell: Any, state: str) -> Any:
    """A class whose equations are those of a cell, but that a state before each step, h[t-1], is h[t-1] + forcing_alpha * (forcing_signal - h[t-1]): an
    input [B, T, H], and a const [H]. Raises TypeError where the cell's program is not known, ValueError where it has no such state, or one that is no real
    vector, or reads it further back."""
    from rnndsl.diagnostics import Source
    from rnndsl.syntax.parser import parse

    _, text, name = program_of(cell_class(cell))
    found = next(c for c in parse(Source(f"{name}.rnn", text)).cells if c.name.id == name)
    states = {n.id: d.shape for d in found.statements if isinstance(d, ast.Declaration) and d.role == "state" for n in d.names}
    if state not in states:
        raise ValueError(f"state: {name} has no state {state!r}; it has {', '.join(states) or 'none'}")
    shape = states[state]
    if len(shape.axes) != 1 or shape.heads or shape.is_complex:
        raise ValueError(f"state: {name}'s {state} is no real vector, as in state {state}: [H]")
    own = f"forced_{state}"
    taken = {own, SIGNAL, ALPHA} & set(re.findall(r"\w+", text))
    if taken:
        raise ValueError(f"{name}: forcing calls something {min(taken)}, and so does the program")
    axes = text[shape.span.start : shape.span.end]
    body = [s for s in found.statements if not isinstance(s, ast.Declaration)]
    edits = [(body[0].span.start, body[0].span.start, f"input {SIGNAL}: {axes}\n  const {ALPHA}: {axes}\n  {own} = {state}[t-1] + {ALPHA} * ({SIGNAL} - {state}[t-1])\n  ")]
    for node in (n for s in body for e in _expressions(s) for n in _walk(e)):
        if isinstance(node, ast.Index) and node.base.id == state and node.arguments != (ast.Name("t"),):
            if node.arguments != _BEFORE:
                raise ValueError(f"state: {name} reads {state} further back than the step before")
            edits.append((node.span.start, node.span.end, own))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return cell_of(text, name)


def _expressions(statement: ast.Statement) -> Iterator[ast.Expr]:
    match statement:
        case ast.Assign():
            yield statement.value
        case ast.Output():
            yield from (r.value for r in statement.returned if r.value is not None)
        case ast.Repeat():
            for s in statement.body:
                yield from _expressions(s)


def _walk(expr: ast.Expr) -> Iterator[ast.Expr]:
    yield expr
    for child in ast.children(expr):
        yield from _walk(child)


def _complete(cls: type, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes, with 1 for D where it is only how many inputs there are."""
    return {**({"D": 1} if header_of(cls).get("D") else {}), **sizes}
