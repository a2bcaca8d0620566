"""pararnn-torch's ParaGRU, ParaLSTM and ParaSLSTM, where that package is installed and the cell is one of them."""

import logging
import time
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

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
from rnndsl.tools.bench.peers import PARARNN, Values, peer_of
from rnndsl.tools.bench.subject import Subject

_HOPELESS = 3  # times slower in its first call than the fastest mode so far
_CLOSE = 1e-3  # to its own sequential mode: a solver that stops early is no candidate


class Pararnn(Candidate):
    """The cell of pararnn-torch with our weights, for each task in the mode that is fastest on this machine."""

    name = "pararnn"

    def __init__(self, subject: Subject):
        try:
            self._lib = quiet_import()
        except ImportError as e:
            raise Absent("not installed" if (e.name or "").startswith("pararnn") else f"not installed in full: {e}") from None
        kind, values = peer_of(subject, PARARNN)
        self._cell = cell_of(self._lib, kind, values)
        require_same(subject, partial(self._lib.ParaRNN(self._cell, solver="sequential"), *subject.inputs))
        self.subject, self.note, self._kind, self._values = subject, kind, kind, values

    def _modes(self, cell: nn.Module) -> dict[str, nn.Module]:
        """The ways in which the library can run a cell on a processor; `sequential` is what it does in evaluation mode."""
        newton = {"newton": {}, "newton in chunks of 256": {"chunk_len": 256}, "newton in chunks of 64": {"chunk_len": 64}}
        runs = {name: self._lib.ParaRNN(cell, solver="newton", config=self._lib.NewtonConfig(**kw)) for name, kw in newton.items()}
        return {"sequential": self._lib.ParaRNN(cell, solver="sequential"), **runs}

    def recurrence(self, task: Task) -> Call:
        """The layer with one input, whose product costs next to nothing; its streams have the same spread in every channel."""
        narrow = cell_of(self._lib, self._kind, self._values | {"W_x.weight": self._values["W_x.weight"].norm(dim=1, keepdim=True)})
        (x,) = leaves((self.subject.inputs[0][..., :1].contiguous(),))
        return self._fastest(task, narrow, x, f"{self._kind} of one input")

    def layer(self, task: Task) -> Call:
        (x,) = leaves(self.subject.inputs)
        return self._fastest(task, self._cell, x, self._kind)

    def step(self, task: Task) -> Call:
        (x,) = self.subject.step_inputs(task.batch)
        slots, self.note = self._cell.state_slots, f"{self._kind}.step"
        state = x.new_zeros(task.batch, *((slots,) if slots > 1 else ()), self._cell.hidden_size)
        return forward(lambda: self._hidden(self._cell.step(state, x)))

    def _hidden(self, state: Tensor) -> Tensor:
        return state[..., self._cell.hidden_slot, :] if self._cell.state_slots > 1 else state

    def _fastest(self, task: Task, cell: nn.Module, x: Tensor, name_of_cell: str) -> Call:
        """The call in the fastest of the modes that give the right numbers; `note` names it."""
        wanted = (x, *cell.parameters())
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
                first = _seconds(call)
                if first <= _HOPELESS * min(seconds.values(), default=first):
                    seconds[name], calls[name] = _seconds(call), call
            except Exception as e:
                failures.append(f"{name}: {e}")
        if not calls:
            raise Absent(f"failed: {'; '.join(failures)}")
        best = min(seconds, key=lambda n: seconds[n])
        self.note = f"{name_of_cell}, {best}"
        return calls[best]


def cell_of(lib: Any, kind: str, values: Values) -> Any:
    """A cell of the library with given weights, on their device."""
    weight, hidden = values["W_x.weight"], values["R" if "R" in values else "a_z"].shape[-1]
    cell = getattr(lib, kind)(weight.shape[1], hidden, max_recurrent_norm=None, dtype=weight.dtype, device=weight.device)
    cell.load_state_dict(values)
    return cell


def quiet_import() -> Any:
    """The library, without its warnings and its log. Raises ImportError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pararnn
    logging.getLogger("pararnn").setLevel(logging.CRITICAL)  # a mode that does not converge is left out
    return pararnn


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
