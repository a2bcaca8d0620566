"""What a standalone module has in place of the backends with kernels."""

from typing import Any

from rnndsl.runtime.backend import Backend, Plan, Results
from rnndsl.runtime.call import Call


class Absent(Backend):
    """A backend that is known by its name, and runs nothing."""

    def __init__(self, name: str):
        self.name = name  # type: ignore[misc]

    def refusal(self, cls: type) -> str:
        return "a standalone module has no kernels"

    def run(self, layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Results:
        raise NotImplementedError

    def plan_for(self, layer: Any, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        raise NotImplementedError
