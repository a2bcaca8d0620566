"""Other people's layers on a GPU, each where it is installed and has the cell."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from on_gpu.cells import reference
from rnndsl.tools.bench.candidates import (
    Absent,
    Backend,
    Call,
    Candidate,
    Compiled,
    Task,
    forward,
    forward_and_backward,
    leaves,
)
from rnndsl.tools.bench.pararnn import cell_of, quiet_import
from rnndsl.tools.bench.peers import PARARNN, TORCH, peer_of, recognised, torch_modules
from rnndsl.tools.bench.subject import Subject


def loop(subject: Subject) -> Backend:
    """The fair PyTorch loop: input products hoisted, streams unbound before it, states stacked after it."""
    return Backend("loop", subject, reference(subject), ours=False, note="the reference backend")


def compiled(subject: Subject) -> Compiled:
    """That loop with its step compiled."""
    return Compiled(Subject(subject.cell, reference(subject), subject.batch, subject.steps))


class ParaRNN(Candidate):
    """A cell of pararnn-torch with our weights, in one of its modes; what its solver said of itself is in `said`."""

    modes: ClassVar[dict] = {"pararnn": {}, "pararnn, one loop over windows": {"fused_time_loop": True, "scan_backend": "fused"}, "pararnn, chunks of 256": {"chunk_len": 256}}

    def __init__(self, subject: Subject, mode: str):
        self.name, self.subject, self.said = mode, subject, ""
        found = peer_of(subject, PARARNN)
        lib = quiet_import()
        self.note = found[0]
        self._layer = lib.ParaRNN(cell_of(lib, *found), solver="newton", config=lib.NewtonConfig(**self.modes[mode]))

    def layer(self, task: Task) -> Call:
        (x,) = leaves(self.subject.inputs)

        def run() -> Tensor:
            y = self._layer(x)
            self.said = "; ".join(str(s) for s in self._layer.last_stats)
            return y

        return forward_and_backward(run, (x, *self._layer.parameters())) if task.both else forward(run)


class AcceleratedScan(Candidate):
    """accelerated-scan, for h[t] = a * h[t-1] + b: from a and b as it wants them, [B, H, T], so that nothing else is on its bill."""

    kinds: ClassVar[dict] = {"accelerated-scan": "scalar", "accelerated-scan, in CUDA": "warp"}

    def __init__(self, subject: Subject, kind: str):
        from importlib import import_module

        self.name, self.subject, self.note = kind, subject, "from gates and values that lie as it wants them"
        if subject.cell.name != "MinGRU":
            raise Absent("the recurrence is not h[t] = a * h[t-1] + b")
        self._scan = import_module(f"accelerated_scan.{self.kinds[kind]}").scan

    def recurrence(self, task: Task) -> Call:
        (r,) = self.subject.recurrences
        z, value = r.call.streams[0].transpose(1, 2).chunk(2, 1)
        z = torch.sigmoid(z)
        a, b = leaves(((1 - z).contiguous(), (z * value).contiguous()))
        run = partial(self._scan, a, b)
        return forward_and_backward(run, (a, b)) if task.both else forward(run)

    def as_ours(self, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Its states, [B, T, H]."""
        return tuple(t.transpose(1, 2) for t in found)


class Fla(Candidate):
    """flash-linear-attention's HGRN, for h[t] = exp(g) * h[t-1] + x: from x and g as it wants them, so that nothing else is on its bill."""

    kinds: ClassVar[dict] = {"fla, chunks": "chunk_hgrn", "fla, one loop": "fused_recurrent_hgrn"}

    def __init__(self, subject: Subject, kind: str):
        from importlib import import_module

        self.name, self.subject, self.note = kind, subject, "from values and logarithms of gates"
        if subject.cell.name != "MinGRU":
            raise Absent("the recurrence is not h[t] = a * h[t-1] + b")
        self._scan = getattr(import_module("fla.ops.hgrn"), self.kinds[kind])

    def recurrence(self, task: Task) -> Call:
        (r,) = self.subject.recurrences
        z, value = r.call.streams[0].chunk(2, -1)
        x, g = leaves(((torch.sigmoid(z) * value).contiguous(), torch.nn.functional.logsigmoid(-z).contiguous()))

        def run() -> Tensor:
            return self._scan(x, g)[0]

        return forward_and_backward(run, (x, g)) if task.both else forward(run)


class CuDNN(Candidate):
    """torch.nn's layer with our weights."""

    name = "torch.nn"

    def __init__(self, subject: Subject):
        found = peer_of(subject, TORCH, "torch.nn.")
        self.note, self.subject = f"torch.nn.{found[0]}", subject
        self._layer, _ = torch_modules(*found)

    def layer(self, task: Task) -> Call:
        (x,) = leaves(self.subject.inputs)

        def run() -> Tensor:
            return self._layer(x)[0]

        return forward_and_backward(run, (x, *self._layer.parameters())) if task.both else forward(run)


class TorchRL(Candidate):
    """TorchRL's GRU by its Triton kernels, with the weights of torch.nn's layer."""

    name = "TorchRL, Triton"

    def __init__(self, subject: Subject):
        if subject.cell.name != "GRU":
            raise Absent("it has GRU")
        from torchrl.modules import GRUModule

        self.note, self.subject = "from a TensorDict, products as precise as it chooses", subject
        found = recognised(subject.cell, subject.layer, TORCH)
        if found is None:
            raise Absent("not the same cell: its equations are not those of torch.nn.GRU")
        gru, _ = torch_modules(*found)
        keys = {"in_keys": ["x", "h", "is_init"], "out_keys": ["y", ("next", "h")]}
        sizes = {"input_size": gru.input_size, "hidden_size": gru.hidden_size, "device": subject.inputs[0].device}
        self._layer = GRUModule(**sizes, recurrent_backend="triton", **keys)
        self._layer.gru.load_state_dict(gru.state_dict())

    def layer(self, task: Task) -> Call:
        from tensordict import TensorDict
        from torchrl.modules import set_recurrent_mode

        (x,) = leaves(self.subject.inputs)
        batch, steps, hidden = self.subject.batch, self.subject.steps, self.subject.layer._sizes["H"]
        rest = {"h": x.new_zeros(batch, steps, 1, hidden), "is_init": torch.zeros(batch, steps, 1, dtype=torch.bool, device=x.device)}

        def run() -> Tensor:
            with set_recurrent_mode("recurrent"):
                return self._layer(TensorDict({"x": x, **rest}, batch_size=[batch, steps]))["y"]

        return forward_and_backward(run, (x, *self._layer.parameters())) if task.both else forward(run)


class FlashRNN(Candidate):
    """FlashRNN's GRU or LSTM with one head, from gates that are computed already, in bfloat16 and with weights of its own."""

    gates: ClassVar[dict] = {"GRU": ("gru", 3, 3, 4), "LSTM": ("lstm", 4, 4, 4)}

    def __init__(self, subject: Subject, name: str):
        self.name, self.subject, self.note = name, subject, "bfloat16, weights of its own"
        self._backend = name.split(", ")[1]
        if subject.cell.name not in self.gates:
            raise Absent("it has GRU and LSTM")
        from flashrnn import flashrnn

        self._run = flashrnn

    def recurrence(self, task: Task) -> Call:
        function, inputs, recurrent, biases = self.gates[self.subject.cell.name]
        hidden = self.subject.layer._sizes["H"]
        kind: dict[str, Any] = {"device": self.subject.inputs[0].device, "dtype": torch.bfloat16}
        x = torch.randn(self.subject.batch, self.subject.steps, inputs, 1, hidden, **kind)
        given = leaves((x, torch.randn(recurrent, 1, hidden, hidden, **kind) / hidden**0.5, torch.zeros(biases, 1, hidden, **kind)))

        def run() -> Tensor:
            return self._run(*given, function=function, backend=self._backend, dtype="bfloat16")[0]

        return forward_and_backward(run, given) if task.both else forward(run)
