"""What a step of a recurrence asks of a device, as a Python function of sizes."""

from rnndsl.calculus.cost import asked_of_scan
from rnndsl.checks.dims import Dim
from rnndsl.plan.ir import Scan


def work_text(name: str, scan: Scan) -> str:
    """The function."""
    counts = ", ".join(_text(d) for d in asked_of_scan(scan))
    return f'def {name}(sizes):\n    """Of a step of one sequence: operations, special functions, bytes of streams, bytes of states."""\n    return {counts}'


def _text(d: Dim) -> str:
    return d.text({n: f'sizes["{n}"]' for n in d.names})
