"""One step of a whole cell -> what its template needs: a kernel of tiles from inputs and params to outputs and new states."""

from dataclasses import dataclass, replace

from rnndsl.diagnostics import Source
from rnndsl.emit.triton.layout import listed
from rnndsl.emit.triton.text import bracketed
from rnndsl.emit.triton.tile.kernel import Kernel, KernelLines
from rnndsl.emit.triton.tile.recurrence import coordinates_text, in_python, programs_text, size_texts
from rnndsl.emit.triton.tile.scope import Scope, Sizes
from rnndsl.emit.triton.uniform import Constants
from rnndsl.kernel.apart import apart
from rnndsl.kernel.build import CellKernels, OneStep
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.program import Sink
from rnndsl.kernel.separate import Split

_NAME = "cell"


@dataclass(frozen=True)
class TileStepText:
    """What the template needs of a step: its lines, and what divides the work and what the runtime must know, as in `TileText`."""

    lines: KernelLines
    coordinates: list[tuple[str, str, str]]
    programs: str
    sized: list[str]
    shapes: list[str]
    scratch: str


class StepKernel(Kernel):
    """Outputs and new states of one step; nothing is kept of it."""

    def in_stream(self, i: int) -> str:
        return f"row * {self.array('stream', i)}_rows"

    def write(self) -> KernelLines:
        self.one_step(lambda i: (f"{self.array('carry', i)}_first", f"row * {self.size(i)}"))
        parameters = [p for i in range(len(self.step.streams)) for p in (self.array("stream", i), f"{self.array('stream', i)}_rows")]
        parameters += [self.array("static", i) for i in range(len(self.step.statics))]
        parameters += [f"{self.array('carry', i)}_first" for i in range(len(self.step.carries))]
        parameters += [f"{self.array('carry', i)}_final" for i in self.kept_carries]
        parameters += [self._output(i) for i in range(len(self.step.outputs))]
        return KernelLines(parameters, self.before, self.lines, [], self.scratch_entries)

    def sink(self, s: Sink) -> None:
        domain, i = self.shape_domain(s.node), s.target.index
        if s.target.kind == "sequence":
            array, domain = f"{self.array('carry', i)}_final", self.state_domain(i)
        else:
            array = self._output(i)
        value = self.full(self.wanted(s.node), domain, moves=True).code
        self.call("write", [array, f"row * {bracketed(self.count(domain))}", "here", value, *self.in_array(domain)])

    def _output(self, i: int) -> str:
        return f"{self.names(('output', i), self.step.outputs[i][0].label)}_out"


def step_text(kernels: CellKernels, source: Source, sizes: Sizes, constants: Constants) -> TileStepText | None:
    """The text of one step; None where there is no such kernel."""
    if kernels.step is None or not kernels.step.step.carries:
        return None
    one = replace(kernels.step, forward=apart(kernels.step.forward))

    def written(split: Split) -> StepKernel:
        return StepKernel(one.forward, one.step, split, _NAME, source, sizes.names.child(), sizes, constants)

    try:
        kernel = written(_split(one, written(one.split)))
        lines = kernel.write()
    except Unsupported:
        return None
    scratch = in_python(sizes, (_NAME, lines.scratch), f"{_NAME}_scratch", lines.scratch)
    shapes = [listed([sizes.python(d) for d in array.shape]) for array, _ in one.step.outputs if array.part != "im"]
    return TileStepText(lines, coordinates_text(kernel), programs_text(kernel), size_texts(kernel), shapes, scratch)


def _split(one: OneStep, scope: Scope) -> Split:
    """How programs divide the states: as the step does, where each has its own part of every output."""
    markers = {marker for _, marker in scope.state_domain(0) if marker}
    outputs = [s.node for s in one.forward.sinks if s.target.kind == "output"]
    return one.split if all(markers <= {m for _, m in scope.shape_domain(n)} for n in outputs) else Split()
