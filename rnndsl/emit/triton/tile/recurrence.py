"""A recurrence -> what its template needs: two kernels of tiles, and what the runtime must know to call them."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.step_form import form
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.layout import listed
from rnndsl.emit.triton.tile.kernel import Backward, Forward, Kernel, KernelLines
from rnndsl.emit.triton.tile.scope import Domain, Scope, Sizes
from rnndsl.emit.triton.uniform import Constants
from rnndsl.kernel.apart import apart
from rnndsl.kernel.build import Sweep
from rnndsl.kernel.graph import Loop
from rnndsl.kernel.program import Program, outer_layout


@dataclass(frozen=True)
class KernelText:
    """One kernel: its lines, what it says of itself, and the constants that say how much memory a row takes: of its own, and shared by programs."""

    direction: str
    doc: str
    lines: KernelLines
    scratch_name: str
    common_name: str

    @property
    def parameters(self) -> list[str]:
        return self.lines.parameters

    @property
    def before(self) -> list[str]:
        return self.lines.before

    @property
    def step(self) -> list[str]:
        return self.lines.step

    @property
    def after(self) -> list[str]:
        return self.lines.after

    @property
    def scratch(self) -> str:
        return self.lines.scratch

    @property
    def common(self) -> str:
        return self.lines.common

    @property
    def scratch_python(self) -> str:
        return f"{self.scratch_name}.value" if self.scratch else "0"

    @property
    def common_python(self) -> str:
        return f"{self.common_name}.value" if self.common else "0"


@dataclass(frozen=True)
class TileText:
    """What the template needs of a recurrence."""

    label: str
    name: str
    kernels: str
    title: str
    coordinates: list[tuple[str, str, str]]  # see `coordinates_text`
    forward: KernelText
    backward: KernelText
    forms: tuple[tuple[int, ...], ...]
    lags: tuple[int, ...]
    nearer: tuple[int, ...]
    partial: tuple[int, ...]
    programs: str
    sized: list[str]
    divided: str
    shared: list[str]
    shared_factors: list[str]
    sums: list[str]
    outers: list[str]


def tile_text(sweep: Sweep, source: Source, sizes: Sizes, constants: Constants, label: str, name: str) -> TileText:
    """The text of one recurrence; its functions begin with `name`. Raises Unsupported."""
    step = sweep.step
    name = f"{name}tile"  # what it begins with ends in `_`

    def given(program: Program) -> tuple:
        return program, step, sweep.split, name, source, sizes.names.child(), sizes, constants

    forward, backward = Forward(*given(apart(sweep.forward))), Backward(*given(apart(sweep.backward)))
    lines = forward.write(), backward.write()
    docs = "The states of all steps from the streams.", "Gradients of streams, params and first states; each step is computed again from the saved states."
    texts = []
    for direction, doc, found in zip(("forward", "backward"), docs, lines, strict=True):
        memory = {"scratch": found.scratch, "common": found.common}
        made = [in_python(sizes, (name, direction, what, code), f"{name}_{direction}_{what}", code) for what, code in memory.items()]
        texts.append(KernelText(direction, doc, found, *made))
    places = {(array.name, array.part, lag): i for i, (array, lag) in enumerate(step.carries)}
    return TileText(
        label=label,
        name=name,
        kernels=f"{name}_kernels",
        title=", ".join(dict.fromkeys(array.name for array, _ in step.carries)),
        coordinates=coordinates_text(backward),
        forward=texts[0],
        backward=texts[1],
        forms=(form(step.streams), form(step.statics), form(tuple(array for array, _ in step.carries))),
        lags=tuple(lag for _, lag in step.carries),
        nearer=tuple(places[array.name, array.part, lag - 1] if lag > 1 else -1 for array, lag in step.carries),
        partial=tuple(sorted(sweep.backward.partial)),
        programs=programs_text(backward),
        sized=size_texts(forward, backward),
        divided=largest_of((e for k in (forward, backward) for e in k.shares()), "0"),
        shared=_parts(backward, "stream_gradient", len(step.streams)),
        shared_factors=_parts(backward, "outer_left", len(backward.program.outers)),
        sums=_sums(backward, sizes),
        outers=_outers(backward, sizes),
    )


def python_sizes(sizes: Sizes, shape: tuple[Dim, ...]) -> list[str]:
    return [triton_text.factor(sizes.python(d)) for d in shape]


def _value(constant: str) -> str:
    """A constant of the file in Python."""
    return constant if constant.isdigit() else f"({constant}).value" if not constant.isidentifier() else f"{constant}.value"


def in_python(sizes: Sizes, key: object, wanted: str, code: str) -> str:
    """The name of what arithmetic of constants of the file gives, if there is any; these have operators of their own."""
    return sizes.constant(key, wanted, f"number({code})") if code else ""


def coordinates_text(f: Kernel) -> list[tuple[str, str, str]]:
    """Of a program beside its rows: its place, how many there are, of a block of an axis its length."""
    block = f.sizes.block(f.name, f.step.carries[0][0].shape[f.split.block[0]]) if f.split.block else ""
    return [(f.place_of(m), triton_text.bracketed(count), block if m == "block" else "") for m, count in reversed(f.coordinates())]


def programs_text(f: Kernel) -> str:
    """How many programs there are for the same rows."""
    return " * ".join(_value(count) for _, count in f.coordinates()) or "1"


def largest_of(found: Iterable[str], least: str = "1") -> str:
    """The largest of some numbers, in Python."""
    return f"max(({', '.join(dict.fromkeys([least, *found]))},))"


def size_texts(*kernels: Kernel) -> list[str]:
    """What a program needs registers for, as the runtime is told; see `Sized`."""

    rows = ", ".join(dict.fromkeys(r for k in kernels for r in k.dot_rows))
    return [
        f"widest={largest_of(w for k in kernels for w in k.widths())}",
        f"values={largest_of(w for k in kernels for w in k.widths(many=True))}",
        f"matrices={largest_of(k.entries for k in kernels)}",
        f"dot_rows=min(({rows},))" if rows else "dot_rows=NEVER",
    ]


def _parts(f: Backward, kind: str, count: int) -> list[str]:
    """How many programs give parts of each gradient of a kind."""
    return [" * ".join(_value(n) for _, n in f.shared_by(kind, i)) or "1" for i in range(count)]


def _product(sizes: Sizes, shape: tuple[Dim, ...]) -> str:
    return " * ".join(python_sizes(sizes, shape)) or "1"


def _sums(f: Backward, sizes: Sizes) -> list[str]:
    """The gradients that programs add up: the array, its slice or none, how many slices, the shape of one, how many parts there are."""
    found = []
    for s in f.sums:
        domain: Domain = f.shape_domain(s.node)
        parts = " * ".join(_value(count) for _, count in f.missing(domain)) or "1"
        shape = listed([sizes.python(d) for d, _ in domain])
        select, slices = "None", "0"
        if s.target.select is not None and s.loop is None:
            select = f"int({f.numbers.python(s.target.select)}) - 1"
        elif s.target.select is not None:
            slices = sizes.python(f.step.statics[s.target.index].shape[0])
        found.append(f"{s.target.index}, {select}, {slices}, {shape}, {parts}")
    return found


def _loop(f: Scope, number: int) -> Loop:
    return next(node.loop for node in f.loops if node.loop.number == number)


def _outers(f: Backward, sizes: Sizes) -> list[str]:
    """The products over all steps that give gradients of matrices."""
    found = []
    for k, outer in enumerate(f.program.outers):
        layout, leaf = outer_layout(f.program, k), f.nodes[outer.leaf].leaf
        loop = _loop(f, outer.loop) if outer.loop is not None else None
        rounds = f"max(0, {sizes.python(loop.high)} - ({sizes.python(loop.low)}) + 1)" if loop is not None else "1"
        first = "0"
        if leaf.select is not None:
            counted = loop is not None and f.nodes[leaf.select].op == "counter"
            first = sizes.python(loop.low) if counted and loop is not None else f"int({f.numbers.python(leaf.select)})"
        volumes = [_product(sizes, layout.shape(axes)) for axes in (layout.further, layout.common, layout.left, layout.right)]
        axes = layout.axes
        shape, order = listed([sizes.python(d) for d in layout.shape(axes)]), listed([str(axes.index(m)) for m in range(len(axes))])
        found.append(", ".join([str(leaf.index), first, rounds, *volumes, shape, order]))
    return found
