"""The table of checks: what is compared for one cell here, in the order of the page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from rnndsl.runtime.backend import BACKENDS
from rnndsl.tiles import SEQUENTIAL
from rnndsl.tools.verify import agreement, consistency
from rnndsl.tools.verify.context import REFERENCE, Backend, Context
from rnndsl.tools.verify.finding import SKIP, Finding
from rnndsl.tools.verify.gradcheck import gradcheck
from rnndsl.tools.verify.jacobian import jacobian
from rnndsl.tools.verify.noise import in_training
from rnndsl.tools.verify.schedules import parallel
from rnndsl.tools.verify.throughput import throughput


@dataclass(frozen=True)
class Check:
    """A line: its name, what it compares, and how."""

    name: str
    what: str
    run: Callable[[], Finding]


def checks(c: Context) -> Iterator[Check]:
    """Every check of a cell. Raises Unfit for a backend that was asked for and does not run here, and for sizes that do not fit."""
    dtypes = [(n, getattr(torch, n)) for n in c.settings.dtypes]
    yield Check("equations", "reference against an interpreter of the equations, float64", partial(agreement.equations, c))
    yield Check("finite", "whether the equations give finite numbers here", partial(agreement.finite, c))
    yield from (Check("backend", f"{name} does not run here", partial(_skipped, why)) for name, why in c.absent.items())
    for b in c.backends:
        for name, dtype in dtypes:
            if b == REFERENCE and name in ("float64", "float32"):
                continue
            yield Check("backend", f"{_named(b)} on {name} against the reference", partial(agreement.backend, c, b, dtype))
        if b == REFERENCE and "float32" in c.settings.dtypes:
            yield Check("backend", "reference on float32 against itself in float64", partial(agreement.rounding, c))
    yield Check("gradcheck", f"gradients against differences, {c.small}", partial(gradcheck, c))
    large = {k.states: k.too_large for k in c.system.components}
    for scan in c.plan.scans:
        if large[scan.states]:
            why = f"its derivatives are too large: {large[scan.states]}"
            yield Check("jacobian", f"derivatives of {', '.join(scan.states)} against autograd", partial(_skipped, why))
            continue
        yield Check("jacobian", f"derivatives of {', '.join(scan.states)} against autograd, {c.small}", partial(jacobian, c, scan.states))
    for b in c.backends:
        yield Check("halves", f"{_named(b)}: two calls against one", partial(consistency.in_halves, c, b))
        yield Check("steps", f"{_named(b)}: step by step against one call", partial(consistency.by_steps, c, b))
        yield Check("resets", f"{_named(b)}: resets against separate sequences", partial(consistency.by_resets, c, b))
    yield from _schedules(c, dtypes)
    if c.cell.of_role("noise"):
        for b in c.backends:
            yield Check("noise", f"{_named(b)}: in training, from one seed", partial(in_training, c, b))
    yield Check("throughput", "forward and backward, float32", partial(throughput, c))


def _schedules(c: Context, dtypes: list) -> Iterator[Check]:
    """The schedules that are parallel over time, in the dtypes that they compute in."""
    pairs = [(b, s) for b in c.backends for s in BACKENDS[b.name].schedules if s != SEQUENTIAL]
    if not pairs:
        yield Check("schedule", "parallel over time against sequential", partial(_skipped, "no backend that runs here has such a schedule for this cell"))
    for b, schedule in pairs:
        for name, dtype in dtypes:
            if dtype in (torch.float64, torch.float32):
                yield Check("schedule", f"{_named(b)} on {name}: {schedule} against sequential", partial(parallel, c, b, dtype, schedule))


def _named(b: Backend) -> str:
    return f"{b.name} (interpreted)" if b.is_interpreted else b.name


def _skipped(why: str) -> Finding:
    return Finding(SKIP, notes=(why,))
