"""Steps in Triton, all of them at once as in rounds of Newton's method, or one by one: of each stage between products of matrices a kernel over rows, each a
step of a sequence; see `kernel/row_stages.py`."""

from dataclasses import dataclass

from rnndsl.calculus.cost import asked_of_scan
from rnndsl.calculus.family import AFFINE
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.part import words_of
from rnndsl.emit.torch.function import OnceText
from rnndsl.emit.triton import matrix
from rnndsl.emit.triton.layout import called, listed
from rnndsl.emit.triton.matrix import Matrices, Semiring
from rnndsl.emit.triton.records import FunctionText
from rnndsl.emit.triton.text import times
from rnndsl.emit.triton.tile.kernel import Kernel, KernelLines
from rnndsl.emit.triton.tile.recurrence import in_python, size_texts
from rnndsl.emit.triton.tile.scope import Sizes
from rnndsl.emit.triton.uniform import Constants, Uniform
from rnndsl.kernel.apart import apart
from rnndsl.kernel.newton import NewtonStep
from rnndsl.kernel.program import Sink, forward
from rnndsl.kernel.row_parts import RowPart
from rnndsl.kernel.row_stages import RowProduct, Stage, row_stages, with_given, with_residual
from rnndsl.kernel.row_steps import RowGradients, StaticProduct, row_steps
from rnndsl.kernel.row_work import Block, RowWork, parts_of, row_work, together
from rnndsl.kernel.separate import Split
from rnndsl.kernel.step import Step
from rnndsl.plan.ir import Scan

_DOCS = {
    "advance": "New states of all rows.",
    "look": "New states of all rows, their derivatives in old ones of the same channel, and how far off the states are.",
    "linear": "What gradients read of the values of all rows.",
    "pull": "What gradients of new states make of those of old ones, on top of what is given.",
    "gradients": "Gradients of what each row reads, or the factors of products that are gradients.",
}
_TENSORS = frozenset((
    "angle", "chosen", "exp_im", "exp_re", "expanded", "joined", "log_modulus", "modulus", "moving", "permuted", "power_im", "power_re", "quotient_im",
    "quotient_re", "reshaped", "root", "root_im", "root_re",
))  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class StageText:
    """One stage: its kernel, unless nothing is computed in it, and its products, as the runtime is told of them."""

    name: str
    doc: str
    lines: KernelLines | None
    scratch: str
    streams: tuple[int, ...]  # which the kernel reads
    old: tuple[int, ...]
    statics: tuple[int, ...]
    sized: list[str]
    shapes: list[str]
    products: list[str]


@dataclass(frozen=True)
class ScanText:
    """The scan of carried values that go together: its functions, and the two kernels."""

    name: str
    members: tuple[int, ...]
    size: str
    functions: list[FunctionText]
    directions: list["DirectionText"]


@dataclass(frozen=True)
class DirectionText:
    """One kernel of a scan. slots: what arrays there are of each member, forwards none of one that is another a step ago; entries: of each entry of D its
    array, empty where it is zero, and the number of it among outputs."""

    name: str
    back: bool
    doc: str
    slots: list[list[str]]
    entries: list[str]
    outputs: tuple[int, ...]
    call: str

    @property
    def parameters(self) -> list[str]:
        return [p for a in (*(s for slot in self.slots for s in slot), *self.entries) if a for p in (a, f"{a}_rows", f"{a}_times")]


@dataclass(frozen=True)
class RowsText:
    """What the template needs of a recurrence."""

    label: str
    name: str
    title: str
    once: list[str]
    parts: dict[str, list[StageText]]
    gradients: "GradientsText | None"
    work: list[str]
    scans: list[ScanText]
    chain: list["PartText"]
    news: tuple[int, ...]

    @property
    def record(self) -> str:
        return f"{self.name}_rounds"

    @property
    def kernels(self) -> list[StageText]:
        """All stages, in the order of the file."""
        return [s for of in (self.parts, *(part.parts for part in self.chain)) for stages in of.values() for s in stages]


@dataclass(frozen=True)
class GradientsText:
    """See `RowGradients`; the stages are among the parts."""

    streams: tuple[int, ...]
    sums: tuple[tuple[int, int], ...]
    products: list[str]


@dataclass(frozen=True)
class PartText:
    """A part of a step, as `RowPart` has it, in Python. said: what else the runtime is told of it."""

    name: str
    once: list[str]
    parts: dict[str, list[StageText]]
    gradients: GradientsText
    said: list[str]


class RowKernel(Kernel):
    """A step of some rows; nothing is carried from one to another."""

    def in_stream(self, i: int) -> str:
        return _place(self.array("stream", i))

    def write(self) -> KernelLines:
        self.one_step(lambda i: (self._old(i), _place(self._old(i))))
        arrays = [*(self.array("stream", i) for i in self.read("stream")), *map(self._old, self.read("old"))]
        outputs = [self._output(i) for i in range(len(self.step.outputs))]
        parameters = [p for a in arrays for p in (a, f"{a}_rows", f"{a}_times")]
        parameters += [self.array("static", i) for i in self.read("static")]
        parameters += [p for a in outputs for p in (a, f"{a}_rows", f"{a}_times")]
        return KernelLines(parameters, self.before, self.lines, [], self.scratch_entries)

    def read(self, op: str) -> tuple[int, ...]:
        """The numbers of the arrays of a kind that are read."""
        return tuple(sorted({self.nodes[n].leaf.index for n in self.used if self.nodes[n].op == op}))

    def is_elsewhere(self, n: int) -> bool:
        """Streams that are read in parts alone, such as products of which each part is another value."""
        readers = [k for k in self.used if n in self.nodes[k].args]
        return self.nodes[n].op == "stream" and bool(readers) and all(self.view(k) is not None for k in readers)

    def sink(self, s: Sink) -> None:
        domain, i = self.shape_domain(s.node), s.target.index
        *strides, _ = self.row_major([self.dim(d) for d in self.step.outputs[i][0].shape])
        array, where = self._output(i), _place(self._output(i))
        if s.offset != Dim.of(0):
            array = f"{array} + {times(self.dim(s.offset), strides[s.axis])}"
        self.call("write", [array, where, "here", self.full(self.wanted(s.node), domain, moves=True).code, *self.in_array(domain, strides)])

    def _old(self, i: int) -> str:
        return f"{self.array('carry', i)}_all"

    def _output(self, i: int) -> str:
        return f"{self.names(('output', i), self.step.outputs[i][0].label)}_out"


def _place(array: str) -> str:
    """Where a row of an array lies."""
    return f"sequence * {array}_rows + time * {array}_times"


def rows_text(newton: NewtonStep, scan: Scan, source: Source, sizes: Sizes, constants: Constants, label: str, name: str) -> RowsText:
    """The text of the rounds of one recurrence; its functions begin with `name`. Raises Unsupported."""
    name = f"{name}rows"
    steps = row_steps(newton, gradients=True)
    carries = newton.step.carries
    look = with_residual(steps.look, newton.nearer.count(-1))
    of = {"look": look, "linear": steps.linear, "pull": with_given(steps.pull)}
    if steps.gradients is not None:
        of |= {"advance": steps.advance, "gradients": steps.gradients.step}
    stages = {part: row_stages(step) for part, step in of.items()}

    def written(stages: dict[str, tuple[Stage, ...]], begins: str) -> dict[str, list[StageText]]:
        found: dict[str, list[StageText]] = {}
        for part in stages:
            found[part] = []
            for k, stage in enumerate(stages[part], 1):
                found[part].append(_stage(stage, f"{begins}_{part}_{k}", _DOCS[part], source, sizes, constants))
        return found

    parts = written(stages, name)
    chained = None if steps.gradients is not None else parts_of(newton.step)
    chain = [] if chained is None else [
        _part(part, f"{name}_part_{k}", written(_steps_of(part), f"{name}_part_{k}"), newton.step, source, sizes, constants) for k, part in enumerate(chained.parts, 1)
    ]
    scans = [_scan(newton, steps.block, members, f"{name}_scan_{k}", sizes) for k, members in enumerate(together(steps.block), 1)]
    title = ", ".join(dict.fromkeys(array.name for array, _ in carries))
    work = _work(row_work(newton, steps, stages["look"]), scan, sizes)
    gradients = None if steps.gradients is None else _gradients(steps.gradients)
    news = () if chained is None else chained.news
    return RowsText(label, name, title, _once(steps.once, f"{name}_once", source), parts, gradients, work, scans, chain, news)


def _steps_of(part: RowPart) -> dict[str, tuple[Stage, ...]]:
    steps = part.steps
    of = {"advance": steps.advance, "linear": steps.linear, "pull": with_given(steps.pull), "gradients": steps.gradients.step}
    return {name: row_stages(step) for name, step in of.items()}


def _part(part: RowPart, name: str, stages: dict[str, list[StageText]], step: Step, source: Source, sizes: Sizes, constants: Constants) -> PartText:
    numbers = Uniform(step.builder.nodes, sizes.names, constants)
    slices = [f"({s.static}, {0 if s.number is None else f'int({numbers.python(s.number)})'})" for s in part.slices]
    said = [f"reads={part.reads}", f"makes={part.makes}"]
    said += [f"slices={listed(slices)}"] if slices else []
    said += ["counted=True"] if part.counted else []
    said += [f"ends={listed([sizes.python(d) for d in part.ends])}", f"starts={part.starts}"] if part.ends is not None else []
    return PartText(name, _once(part.steps.once, f"{name}_once", source), stages, _gradients(part.steps.gradients), said)


def _once(step: Step, name: str, source: Source) -> list[str]:
    """The function of what no row changes, in PyTorch's operations; some of what it calls is called as functions of kernels are."""
    head, *body = OnceText(step, name, source).lines()
    called = sorted(words_of(body) & _TENSORS)
    return [head, *([f"    from rnndsl.runtime.torch.library import {', '.join(called)}"] if called else []), *body]


def _stage(stage: Stage, name: str, doc: str, source: Source, sizes: Sizes, constants: Constants) -> StageText:
    products = [_product(p) for p in stage.products]
    if not stage.step.outputs:
        return StageText(name, doc, None, "", (), (), (), [], [], products)
    kernel = RowKernel(apart(forward(stage.step), outputs=True), stage.step, Split(), name, source, sizes.names.child(), sizes, constants)
    lines = kernel.write()
    scratch = in_python(sizes, (name, lines.scratch), f"{name}_scratch", lines.scratch)
    shapes = [listed([sizes.python(d) for d in array.shape]) for array, _ in stage.step.outputs]
    streams, old, statics = (kernel.read(op) for op in ("stream", "old", "static"))
    return StageText(name, doc, lines, scratch, streams, old, statics, size_texts(kernel), shapes, products)


def _product(p: RowProduct) -> str:
    """A product as the runtime is told of it."""
    matrix, values = ("".join(_LETTERS[k] for k in m) for m in p.maps)
    return f'{p.matrix}, "{p.value[0]}", {p.value[1]}, "...{values},{matrix}->...{_LETTERS[: p.rank]}"'


def _gradients(given: RowGradients) -> GradientsText:
    return GradientsText(given.streams, given.sums, [_static_product(p) for p in given.products])


def _work(rows: RowWork, scan: Scan, sizes: Sizes) -> list[str]:
    """What a step of one sequence asks of a device, and what its kernels over rows do."""
    return [*map(sizes.python, asked_of_scan(scan)), sizes.python(rows.step), sizes.python(rows.matrices), str(rows.round), sizes.python(rows.moved)]


def _static_product(p: StaticProduct) -> str:
    """The same of a product of all rows, whose axes, of sequences and of steps, are summed over."""
    left, right = ("".join(_LETTERS[k] for k in m) for m in p.maps)
    values = ", ".join(f'"{kind}", {number}' for kind, number in (p.left, p.right))
    return f'{p.static}, {values}, "YZ{left},YZ{right}->{_LETTERS[: p.rank]}"'


def _scan(newton: NewtonStep, block: Block, members: tuple[int, ...], name: str, sizes: Sizes) -> ScanText:
    """The scan of some carried values."""
    carries, names = newton.step.carries, KernelNames()
    labels = [names(i, f"{carries[i][0].label}_{carries[i][1]}") for i in members]
    at = {(i, j): block[members[i]][members[j]] for i in range(len(members)) for j in range(len(members)) if block[members[i]][members[j]] >= 0}
    of = Matrices(len(members), Semiring(AFFINE), frozenset(at))
    count = " * ".join(sizes.python(d) if sizes.python(d).isdigit() else f"({sizes.python(d)})" for d in carries[members[0]][0].shape) or "1"
    size = sizes.constant(("size", count), f"{name}_size", count)
    lagged = [newton.nearer[i] >= 0 for i in members]
    functions: list[FunctionText] = []
    directions: list[DirectionText] = []
    for back, m in ((False, of), (True, of.transposed)):
        begins = f"{name}_{'back' if back else 'forward'}"
        functions += [matrix.compose(f"{begins}_compose", m), matrix.scan(f"{begins}_maps", f"{begins}_compose"), matrix.apply(f"{begins}_apply", m)]
        slots = [[] if lag and not back else [f"{n}new", f"{n}value", f"{n}into"] for n, lag in zip(labels, lagged, strict=True)]
        sources = [at.get((j, i) if back else (i, j), -1) for i, j in m.entries]
        entries = [f"slope_{i}_{j}" if n >= 0 else "" for (i, j), n in zip(m.entries, sources, strict=True)]
        call = called("corrected", [
            f"{begins}_apply", f"{begins}_maps", str(back), *(listed([_strided(slot[k]) if slot else "()" for slot in slots]) for k in range(3)),
            listed([_strided(e) if e else "()" for e in entries]), "reset", "reset_rows", "reset_times", "STEPS", size, "LANES", "BLOCK", "REAL",
        ])  # fmt: skip
        doc = "λ + δ: δ[t] = D[t+1]ᵀ δ[t+1] + new[t] - λ[t]." if back else "States + δ: δ[t] = D[t] δ[t-1] + new[t] - state[t]."
        directions.append(DirectionText(begins, back, doc, slots, entries, tuple(n for n in sources if n >= 0), call))
    return ScanText(name, members, size, functions, directions)


def _strided(array: str) -> str:
    return f"({array}, {array}_rows, {array}_times)"
