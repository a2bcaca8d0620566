"""The reference backend: the equations in plain PyTorch."""

from typing import Any

from rnndsl.runtime.backend import Backend, Plan, Results, register
from rnndsl.runtime.call import Call
from rnndsl.runtime.dtypes import widened
from rnndsl.runtime.ops import scan


class Reference(Backend):
    """Step by step: any cell, device and dtype, differentiable any number of times."""

    name = "reference"

    def run(self, layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Results:
        step = getattr(layer, f"_step_{name}")
        streams = [widened(s, kind["dtype"]) for s in call.streams]
        entered = getattr(layer, f"_enter_{name}")(kind, *streams, *call.statics)
        keep = len(type(layer)._states[name])
        sequences, finals = scan(lambda *values: step(kind, *values, *call.statics), entered, call.first, call.initial, call.reset, keep, call.steps)
        return sequences, finals, ()

    def plan_for(self, layer: Any, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        return Plan(name, self.name, "sequential", "step by step")


REFERENCE = Reference()
register(REFERENCE)
