"""A layer, or a stack of them, as one C99 header."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnndsl.compiler import deep_trees
from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.export.c.functions import definitions
from rnndsl.export.c.interface import Interface, Value
from rnndsl.export.c.text import Functions, comment, number
from rnndsl.export.c.unit import Unit, int8_of, quantisable, unit
from rnndsl.export.c.weights import constant
from rnndsl.export.layers import program_of, snake_case
from rnndsl.nn.recurrent import Recurrent
from rnndsl.origin import made_from
from rnndsl.runtime.complex_parts import real_view

REALS = {"float": torch.float32, "double": torch.float64}
_TEST_STEPS = 4
_TOLERANCE = {"float": 2e-5, "double": 1e-11}  # of a number v of the self-test, over 1 + |v|
_SENSITIVE = {"float": 20.0, "double": 20.0 * 2.0**-29}  # how far off it may be where PyTorch in single precision is off by 1


@dataclass(frozen=True)
class Header:
    """A header's text, what it takes, and the layer that it computes, in double precision: with int8 weights, those that they stand for."""

    prefix: str
    real: str
    text: str
    face: Interface
    reference: Any
    exact: Any  # the layer as it was, in double precision
    constant_bytes: int
    state_bytes: int
    scratch_bytes: int
    macs: int
    int8: tuple[str, ...]  # the weights that are held so


def header(layer: Any, prefix: str | None = None, real: str = "float", int8: bool = False) -> Header:
    """The header of a layer, or of a Recurrent that runs forwards. Raises TypeError or ValueError for what cannot be one, RnnError for a cell that
    cannot."""
    if real not in REALS:
        raise ValueError(f"real: expected float or double, got {real!r}")
    if int8 and real != "float":
        raise ValueError("int8: the state of a step with int8 weights is float")
    cells = _cells(layer)
    source, cell = program_of(cells[0])
    prefix = _prefix(prefix, cell.name)
    with deep_trees(source):
        return _header(layer, cells, source, prefix, real, int8)


def _header(layer: Any, cells: list[Any], source: Source, prefix: str, real: str, int8: bool) -> Header:
    exact = copy.deepcopy(layer).to("cpu").double().eval()
    reference = copy.deepcopy(exact)
    for cell in (*_cells(exact), *_cells(reference)):
        cell.backend = "reference"
    held = [_quantise(c) if int8 else {} for c in _cells(reference)]
    functions = Functions(real, prefix)
    stacked = len(cells) > 1
    units = [unit(c, f"{prefix}_{i}" if stacked else prefix, real, functions, q) for i, (c, q) in enumerate(zip(_cells(reference), held, strict=True))]
    if stacked:
        units.append(_stack(layer, units, prefix, real))
    top = units[-1]
    test = _self_test(top.face, reference, real)
    made = definitions(functions.used, real, prefix)
    text = rendered(
        "c/header.h.jinja",
        made=comment(made_from(source.name)),
        about=_about(prefix, real, top.face),
        prefix=prefix, units=units, functions=made, test=test,
    )  # fmt: skip
    names = tuple(f"{i}.{n}" if stacked else n for i, q in enumerate(held) for n in q)
    return Header(
        prefix, real, text, top.face, reference, exact, sum(u.constant_bytes for u in units), top.state_bytes,
        sum(u.stack_bytes for u in units[-1:]) + (max(u.stack_bytes for u in units[:-1]) if stacked else 0), sum(u.macs for u in units), names,
    )  # fmt: skip


def _cells(layer: Any) -> list[Any]:
    """The layers of a stack, or the one layer. Raises TypeError or ValueError."""
    if isinstance(layer, Recurrent):
        if layer.bidirectional:
            raise ValueError("a stack that runs in both directions begins at the end of a sequence, so it has no next step")
        return list(layer.cells)
    if not hasattr(layer, "_declare"):
        raise TypeError(f"layer: expected one of a generated class, or a rnndsl.nn.Recurrent of such, got {type(layer).__name__}")
    return [layer]


def _prefix(prefix: str | None, cell: str) -> str:
    """What all names of a header begin with. Raises ValueError for what is no name in C."""
    if prefix is None:
        return snake_case(cell)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", prefix):
        raise ValueError(f"prefix: expected a name in C, of letters, digits and single _, got {prefix!r}")
    return prefix


@torch.no_grad()
def _quantise(layer: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Makes the matrices of a layer what int8 can hold of them; returns them so."""
    found = {}
    for name in quantisable(layer):
        value = getattr(layer, name)
        try:
            whole, scales, meant = int8_of(value.detach())
        except ValueError as e:
            raise ValueError(f"{name}: {e}") from None
        value.copy_(meant)
        found[name] = (whole, scales)
    return found


def _about(prefix: str, real: str, face: Interface) -> list[str]:
    complex_too = any(v.is_complex for v in (*face.inputs, *face.outputs, *face.fields))
    lines = [
        f"{prefix}_init(&state) starts a sequence; {prefix}_step(&state, inputs…, outputs…) is one step of it, in {real}.",
        f"Arrays are row by row{', complex values pairs of a real and an imaginary part' if complex_too else ''}; those of a call must not overlap.",
        "No memory is taken from the heap and nothing but the state and the outputs is written, so several states may be in use at once.",
        f"With {prefix.upper()}_SELF_TEST defined before it is included, {prefix}_self_test() returns 0 where this compiler computes what the layer does.",
    ]
    return [comment(line) for line in lines]


def _stack(stack: Recurrent, units: Sequence[Unit], prefix: str, real: str) -> Unit:
    """The step of all layers."""
    names = KernelNames()
    inputs: dict[str, Value] = {}
    for i, u in enumerate(units):
        for v in u.face.inputs if i == 0 else u.face.inputs[1:]:
            inputs.setdefault(v.name, Value(v.name, names(("input", v.name), v.name), v.shape, v.is_complex))
    outputs = tuple(Value(v.name, names(("output", v.name), v.name), v.shape, v.is_complex) for v in units[-1].face.outputs)
    face = Interface(tuple(inputs.values()), outputs, (), "")
    lines: list[str] = []
    below, count = next(iter(inputs.values())), 0
    for i, u in enumerate(units):
        first, *further = u.face.inputs
        up = below.c
        if first.is_complex and not below.is_complex:
            up = f"pairs{i}"
            lines += [f"  {real} {up}[{first.count}];", f"  for (long i = 0; i < {below.count}; ++i) {up}[2 * i] = {below.c}[i], {up}[2 * i + 1] = {number(0.0, real).code};"]
            count += first.count
        last = i == len(units) - 1
        to = [v.c for v in outputs] if last else [f"out{i}_{k}" for k in range(len(u.face.outputs))]
        if not last:
            lines += [f"  {real} {name}[{v.count}];" for name, v in zip(to, u.face.outputs, strict=True)]
            count += sum(v.count for v in u.face.outputs)
        given = [up, *(inputs[v.name].c for v in further)]
        lines.append(f"  {u.prefix}_step(&s->layer{i}, {', '.join([*given, *to])});")
        chosen = stack.outputs[i].index(stack.output) if stack.output and len(u.face.outputs) > 1 else 0
        v = u.face.outputs[chosen]
        below = Value(v.name, to[chosen], v.shape, v.is_complex)
    width = 4 if real == "float" else 8
    return Unit(
        prefix=prefix,
        title=comment(f"All {len(units)} layers."),
        face=face,
        weights=[],
        fields=[f"{u.prefix}_state layer{i};" for i, u in enumerate(units)],
        about_init=comment("The state that a sequence starts from."),
        init=[f"{u.prefix}_init(&s->layer{i});" for i, u in enumerate(units)],
        about_step=comment("One step of every layer, from the first to the last."),
        parameters="".join(f", const {real} {v.c}[{v.count}]" for v in face.inputs) + "".join(f", {real} {v.c}[{v.count}]" for v in outputs),
        step=lines,
        constant_bytes=0,
        state_bytes=sum(u.state_bytes for u in units),
        stack_bytes=count * width,
        macs=0,
    )


# Vectors


def vectors(face: Interface, reference: Any, steps: int, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs of some steps, [T, reals] each, which single precision holds, and what a layer makes of them. Where these are not finite, inputs between 0
    and 1 are taken."""
    tried: list[Tensor] = []
    found: list[Tensor] = []
    for is_normal in (True, False):
        generator = torch.Generator().manual_seed(seed)
        draw = torch.randn if is_normal else torch.rand
        tried = [draw(steps, v.count, generator=generator).double() for v in face.inputs]
        found = run(reference, face, tried)
        if all(bool(o.isfinite().all()) for o in found):
            break
    return tried, found


@torch.no_grad()
def run(layer: Any, face: Interface, inputs: Sequence[Tensor]) -> list[Tensor]:
    """What a layer makes of inputs, [T, reals] each: its outputs, [T, reals] each."""
    given = []
    for v, x in zip(face.inputs, inputs, strict=True):
        pairs = x.reshape(1, len(x), *v.shape, 2) if v.is_complex else None
        given.append(torch.view_as_complex(pairs.contiguous()) if pairs is not None else x.reshape(1, len(x), *v.shape))
    y, _ = layer(*given)
    outputs = [y] if isinstance(y, Tensor) else list(y)
    return [real_view(o).reshape(o.shape[1], -1) for o in outputs]


def _self_test(face: Interface, reference: Any, real: str) -> dict[str, Any]:
    """The pieces of the self-test."""
    inputs, outputs = vectors(face, reference, _TEST_STEPS)
    single = run(copy.deepcopy(reference).float(), face, [x.float() for x in inputs])
    off = max(float(((a - b).abs() / (1 + b.abs())).nan_to_num(0.0, 0.0).max()) for a, b in zip(single, outputs, strict=True))
    bound = number(float(f"{max(_TOLERANCE[real], _SENSITIVE[real] * off):.1g}"), real).code
    lines: list[str] = []
    for k, x in enumerate(inputs):
        lines += constant(real, f"in{k}", x)
    for k, y in enumerate(outputs):
        lines += constant(real, f"expected{k}", y, is_exact=False)
    checks = []
    for k, v in enumerate(face.outputs):
        want = f"expected{k}[{f'{v.count} * t + i' if v.count > 1 else 't + i'}]"
        checks.append(f"for (long i = 0; i < {v.count}; ++i) {{")
        checks.append(f"  const {real} want = {want}, apart = out{k}[i] - want, size = want < 0 ? -want : want;")
        far = f"(apart < 0 ? -apart : apart) <= {bound} * (1 + size)"
        checks.append(f"  if (!({far}) && out{k}[i] != want && (out{k}[i] == out{k}[i] || want == want)) return t + 1;")
        checks.append("}")
    arguments = "".join(f", in{k} + {v.count} * t" if v.count > 1 else f", in{k} + t" for k, v in enumerate(face.inputs))
    return {
        "about": comment(f"{_TEST_STEPS} steps against the layer in double precision: 0, or the first step, from 1, that makes other numbers."),
        "vectors": lines,
        "outputs": [f"{real} out{k}[{v.count}];" for k, v in enumerate(face.outputs)],
        "steps": _TEST_STEPS,
        "arguments": arguments + "".join(f", out{k}" for k in range(len(face.outputs))),
        "checks": checks,
    }
