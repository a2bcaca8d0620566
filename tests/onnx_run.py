"""Runs the ONNX models of a layer, and compares them with the layer in double precision."""

from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from rnndsl.export.onnx.model import onnx_models
from tests.agreement import difference, random_inputs, some_resets

TOLERANCE = 2e-5
ROUNDED = 30  # times what float32 itself makes of it


def session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every input that need not be given
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options)


def fed(value: Tensor) -> np.ndarray:
    """A value as the models take it."""
    value = torch.view_as_real(value.detach()) if value.is_complex() else value.detach()
    return (value.float() if value.is_floating_point() else value).contiguous().numpy()


def named(outputs: Any, state: Any, names: list[str]) -> dict[str, Tensor]:
    """What a layer returns, by the names that the models have."""
    values = [*(outputs if isinstance(outputs, tuple) else (outputs,)), *state]
    return {n: torch.view_as_real(v) if v.is_complex() else v for n, v in zip(names, values, strict=True)}


class Models:
    """The two models of a layer in float64, and that layer in float32."""

    def __init__(self, layer: nn.Module, reset: bool = True):
        self.layer = layer
        models = onnx_models(layer, reset=reset)
        self.sequence, self.step = map(session, models)
        inputs = [i.name for i in models[0].graph.input][len(layer._inputs) :]
        self.fields, self.resets = inputs[: len(layer._fields)], inputs[len(layer._fields) :]
        self.names = [o.name for o in self.sequence.get_outputs()]
        self.narrow = type(layer)(**layer._sizes, **layer._hypers, backend="reference").eval()
        self.narrow.load_state_dict(layer.state_dict())
        self.reset = reset

    def agree(self, batch: int, steps: int, seed: int = 0) -> None:
        """From the initial state, from one that is carried, over resets, and of one step."""
        layer = self.layer
        with torch.no_grad():
            inputs = random_inputs(layer, batch, steps, seed)
            first = layer(*inputs)
            self._compare("from the start", self.sequence, (inputs, None, None), first)
            resets = some_resets(batch, steps, seed) if self.reset else None
            self._compare("carried on", self.sequence, (inputs, first[1], resets), layer(*inputs, state=first[1], reset=resets))
            now = [x[:, 0] for x in inputs]
            self._compare("one step", self.step, (now, None, None), layer.step(*now))
            self._compare("one step more", self.step, (now, first[1], None), layer.step(*now, state=first[1]))

    def _compare(self, what: str, run: onnxruntime.InferenceSession, given: tuple, wanted: tuple) -> None:
        inputs, state, reset = given
        feeds = {name: fed(x) for (name, _, _), x in zip(self.layer._inputs, inputs, strict=True)}
        if state is not None:
            feeds |= dict(zip(self.fields, map(fed, state), strict=True))
        if reset is not None:
            feeds |= dict(zip(self.resets, [reset.numpy()], strict=True))
        got = dict(zip(self.names, map(torch.from_numpy, run.run(None, feeds)), strict=True))
        want = named(*wanted, self.names)
        slim = [x.detach().to(torch.complex64 if x.is_complex() else torch.float32) for x in inputs]
        old = state if state is None else type(state)(*(s.to(torch.complex64) if s.is_complex() else s.float() if s.is_floating_point() else s for s in state))
        rounded = named(*(self.narrow.step(*slim, state=old) if run is self.step else self.narrow(*slim, state=old, reset=reset)), self.names)
        for name, value in want.items():
            assert got[name].dtype == (torch.int64 if not value.is_floating_point() else torch.float32)
            limit = max(TOLERANCE, ROUNDED * difference(rounded[name].to(value.dtype), value))
            assert difference(got[name].to(value.dtype), value) <= limit, (what, name, float(difference(got[name].to(value.dtype), value)), limit)
