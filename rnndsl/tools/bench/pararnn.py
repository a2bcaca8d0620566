"""pararnn-torch's ParaGRU, ParaLSTM and ParaSLSTM, where that package is installed and the cell is one of them."""

import logging
import time
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnndsl.tools.bench.candidates import (
    Absent,
    Call,
    Candidate,
    Task,
    forward,
    forward_and_backward,
    leaves,
    require_same,
)
from rnndsl.tools.bench.peers import PARARNN, recognised
from rnndsl.tools.bench.subject import Subject

_CLOSE = 1e-3  # to its own sequential mode: a solver that stops early is no candidate


class Pararnn(Candidate):
    """The cell of pararnn-torch with our weights, for each task in the mode that is fastest on this machine."""

    name = "pararnn"

    def __init__(self, subject: Subject):
        try:
            self._lib = _quiet_import()
        except ImportError as e:
            raise Absent("not installed" if (e.name or "").startswith("pararnn") else f"not installed in full: {e}") from None
        found = recognised(subject.cell, subject.layer, PARARNN)
        if found is None:
            raise Absent("not the same cell: its equations are those of neither ParaGRU, ParaLSTM nor ParaSLSTM")
        kind, values = found
        weight, hidden = values["W_x.weight"], values["R" if "R" in values else "a_z"].shape[-1]
        self._cell = getattr(self._lib, kind)(weight.shape[1], hidden, max_recurrent_norm=None, dtype=weight.dtype)
        self._cell.load_state_dict(values)
        require_same(subject, partial(self._lib.ParaRNN(self._cell, solver="sequential"), *subject.inputs))
        self.subject, self.note = subject, kind

    def _modes(self, cell: nn.Module) -> dict[str, nn.Module]:
        """The ways in which the library can run a cell on a processor; `sequential` is what it does in evaluation mode."""
        newton = {"newton": {}, "newton in chunks of 256": {"chunk_len": 256}, "newton in chunks of 64": {"chunk_len": 64}}
        runs = {name: self._lib.ParaRNN(cell, solver="newton", config=self._lib.NewtonConfig(**kw)) for name, kw in newton.items()}
        return {"sequential": self._lib.ParaRNN(cell, solver="sequential"), **runs}

    def recurrence(self, task: Task) -> Call:
        (x,) = self.subject.inputs
        with torch.no_grad():
            given = F.linear(x, self._cell.W_x.weight, self._cell.W_x.bias)
        (stream,) = leaves((given,))
        params = tuple(p for n, p in self._cell.named_parameters() if not n.startswith("W_x"))
        return self._fastest(task, _Given(self._cell), stream, (stream, *params))

    def layer(self, task: Task) -> Call:
        (x,) = leaves(self.subject.inputs)
        return self._fastest(task, self._cell, x, (x, *self._cell.parameters()))

    def step(self, task: Task) -> Call:
        (x,) = self.subject.step_inputs(task.batch)
        slots, self.note = self._cell.state_slots, f"{type(self._cell).__name__}.step"
        state = x.new_zeros(task.batch, *((slots,) if slots > 1 else ()), self._cell.hidden_size)
        return forward(lambda: self._hidden(self._cell.step(state, x)))

    def _hidden(self, state: Tensor) -> Tensor:
        return state[..., self._cell.hidden_slot, :] if self._cell.state_slots > 1 else state

    def _fastest(self, task: Task, cell: nn.Module, x: Tensor, wanted: tuple[Tensor, ...]) -> Call:
        """The call in the fastest of the modes that give the right numbers; `note` names it."""
        calls: dict[str, Call] = {}
        seconds: dict[str, float] = {}
        right: Tensor | None = None
        failures: list[str] = []
        for name, run in self._modes(cell).items():
            try:
                once = partial(run, x)
                (y,) = forward(once)()
                right = y if right is None else right
                if not torch.allclose(y, right, rtol=_CLOSE, atol=_CLOSE):
                    raise RuntimeError("it has not converged")
                call = forward_and_backward(once, wanted) if task.both else forward(once)
                call()
                seconds[name] = _seconds(call)
                calls[name] = call
            except Exception as e:
                failures.append(f"{name}: {e}")
        if not calls:
            raise Absent(f"failed: {'; '.join(failures)}")
        best = min(seconds, key=lambda n: seconds[n])
        self.note = f"{type(self._cell).__name__}, {best}"
        return calls[best]


class _Given(nn.Module):
    """A cell whose input is what its input product would have been: the recurrence alone."""

    def __init__(self, cell: Any):
        super().__init__()
        self.cell = cell
        self.input_size = cell.W_x.out_features
        self.hidden_size = self.d_h = cell.hidden_size
        self.state_slots, self.jac_structure = cell.state_slots, getattr(cell, "jac_structure", None)
        if cell.state_slots > 1:
            self.hidden_slot = cell.hidden_slot

    def step(self, state: Tensor, x: Tensor) -> Tensor:
        return self.cell.step(state, x, wx=x)

    def step_with_jacobian(self, state: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cell.step_with_jacobian(state, x, wx=x)


def _quiet_import() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pararnn
    logging.getLogger("pararnn").setLevel(logging.ERROR)
    return pararnn


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
