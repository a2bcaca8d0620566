"""One layer of a header: its weights, its state, what starts it, and its step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from rnndsl.checks.cell import Cell
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.emit.naming import KernelNames
from rnndsl.export.c.function import Function
from rnndsl.export.c.interface import Interface, interface
from rnndsl.export.c.places import Memory
from rnndsl.export.c.shipped import shipped
from rnndsl.export.c.text import Functions, comment, number
from rnndsl.export.c.weights import Weights, constant, quantised
from rnndsl.export.c.work import Work
from rnndsl.export.evaluation import evaluation
from rnndsl.export.layers import program_of
from rnndsl.export.step import NoForm, planned_step
from rnndsl.export.values import values_of
from rnndsl.kernel.program import forward
from rnndsl.kernel.schedule import viewed
from rnndsl.plan.build import make_plan
from rnndsl.runtime.complex_parts import real_view

LARGEST = 2**31 - 1  # entries of an array
_INT = 2**15 - 1  # what an int holds on every machine


@dataclass(frozen=True)
class Unit:
    """A layer as C, its pieces as lines. macs: multiply-accumulates of a step."""

    prefix: str
    title: str
    face: Interface
    weights: list[str]
    fields: list[str]
    about_init: str
    init: list[str]
    about_step: str
    parameters: str
    step: list[str]
    constant_bytes: int
    state_bytes: int
    stack_bytes: int
    macs: int


def quantisable(layer: Any) -> list[str]:
    """The params and consts of a layer that only products read: the weights that int8 may hold."""
    source, cell = program_of(layer)
    work, _ = _work(layer, source, cell)
    readers: dict[int, set[str]] = {}
    for n in work.used:
        for a in work.nodes[n].args:
            if work.nodes[a].op == "static":
                readers.setdefault(work.nodes[a].leaf.index, set()).add(work.nodes[n].op)
    arrays = work.step.statics
    good = {arrays[i].name for i, ops in readers.items() if ops == {"product"} and len(arrays[i].shape) >= 2}
    other = {arrays[i].name for i, ops in readers.items() if ops != {"product"}}
    return [n for n in layer._tensors if n in good - other and (n in layer._parameters or n in layer._buffers)]


def _work(layer: Any, source: Source, cell: Cell) -> tuple[Work, Any]:
    plan = shipped(make_plan(evaluation(cell, layer._sizes)))
    try:
        step = planned_step(plan, unroll=False)
    except NoForm as e:
        raise RnnError(source, [Diagnostic("no-export", f"cell {cell.name} cannot be exported to C: {e}", e.span, "this has no form there")]) from None
    return Work(forward(step), step, layer._sizes, layer._hypers), plan


def unit(layer: Any, prefix: str, real: str, functions: Functions, int8: dict[str, tuple[Tensor, Tensor]]) -> Unit:
    """A layer in double precision as C. int8: weights as whole numbers, each with the scales of its rows. Raises RnnError, ValueError, TypeError."""
    source, cell = program_of(layer)
    work, plan = _work(layer, source, cell)
    values, initial = values_of(layer, plan, source)
    names = KernelNames()
    face = interface(plan, layer._sizes, names)
    weights = _weights(work, values, names, prefix, int8)
    largest = max([prod(w.shape) for w in weights] + [work.volume(n) for n in work.used] + [v.count for v in (*face.inputs, *face.outputs, *face.fields)])
    for loop in (work.nodes[n].loop for n in work.inner):
        largest = max(largest, abs(work.size(loop.low)), abs(work.size(loop.high)) + 1)
    if largest > LARGEST:
        raise ValueError(f"cell {cell.name}: C cannot count to {largest:,}, as an array or a repeat here wants")
    counter = "int" if largest <= _INT else "long"
    memories = [Memory(w.name, w.is_array, scales=w.scales[0] if w.scales else "") for w in weights]
    f = Function(work, face, memories, source, names, functions, counter)
    step = f.write()
    read = {n.leaf.index for i, n in enumerate(work.nodes) if i in work.used and n.op == "static"}
    kept = [w for i, w in enumerate(weights) if i in read]
    width = 4 if real == "float" else 8
    init, starts = _init(face, initial, real, names, prefix, counter)
    sizes = ", ".join(f"{n} = {v}" for n, v in (layer._sizes | layer._hypers).items())
    return Unit(
        prefix=prefix,
        title=comment(f"Cell {cell.name} of {source.name}{': ' if sizes else ''}{sizes}."),
        face=face,
        weights=[line for w in kept for line in (comment(w.about), *w.lines(real))] + [line for _, lines in starts for line in lines],
        fields=_fields(face, real),
        about_init=comment("The state that a sequence starts from."),
        init=init,
        about_step=comment(_about_step(face)),
        parameters="".join(f", const {real} {v.c}[{v.count}]" for v in face.inputs) + "".join(f", {real} {v.c}[{v.count}]" for v in face.outputs),
        step=step,
        constant_bytes=sum(w.size(width) for w in kept) + sum(count * width for count, _ in starts),
        state_bytes=_state_bytes(face, width),
        stack_bytes=f.scratch.size * width,
        macs=_macs(work),
    )


def _weights(work: Work, values: dict[str, Tensor], names: KernelNames, prefix: str, int8: dict[str, tuple[Tensor, Tensor]]) -> list[Weights]:
    found = []
    for i, array in enumerate(work.step.statics):
        shape = tuple(map(work.size, array.shape))
        name = names(("weight", i), f"{prefix}_{array.label}")
        part = _part(values[array.name], array.part)
        scales = None
        if array.name in int8:
            whole, rows = int8[array.name]
            part, scales = _part(whole, array.part), (names.of(name, "scales"), _part(rows, array.part))
        found.append(Weights(name, f"{array.label}: [{', '.join(map(str, shape))}]{', a scale a row' if scales else ''}", part.expand(shape), shape, scales))
    return found


def _part(value: Tensor, part: str) -> Tensor:
    """The real array of a value that is called re or im; it itself where it is real."""
    if part == "im":
        return value.imag if value.is_complex() else torch.zeros_like(value)
    return value.real if value.is_complex() else value


def int8_of(value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A weight as whole numbers and scales of rows, and the value that these stand for. Raises ValueError for what is not finite."""
    if not value.is_complex():
        whole, scales = quantised(value)
        return whole, scales, (whole.reshape(-1, whole.shape[-1]) * scales[:, None]).reshape(value.shape)
    parts = [int8_of(p) for p in (value.real, value.imag)]
    return tuple(torch.complex(re, im) for re, im in zip(*parts, strict=True))  # type: ignore[return-value]


def _fields(face: Interface, real: str) -> list[str]:
    lines = [f"{real} {v.c}[{v.count}];  {comment(f'{v.name}: {v.about}')}" for v in face.fields]
    if face.clock:
        lines.append(f"uint32_t {face.clock};  {comment('steps so far')}")
    return lines or ["char empty;"]


def _state_bytes(face: Interface, width: int) -> int:
    total = sum(v.count for v in face.fields) * width + (4 if face.clock else 0)
    return (total + width - 1) // width * width if face.fields else max(total, 1)


def _init(face: Interface, initial: Sequence[Tensor], real: str, names: KernelNames, prefix: str, counter: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The lines that start a state, and the constants that they read: how many numbers each, and its lines."""
    lines: list[str] = []
    starts: list[tuple[int, list[str]]] = []
    for v, value in zip(face.fields, initial, strict=False):
        flat = real_view(value).reshape(-1).to(torch.float64)
        if bool((flat == flat[0]).all()) or bool(flat.isnan().all()):
            what = number(float(flat[0]), real).code
        else:
            name = names(("initial", v.name), f"{prefix}_{v.name}_initial")
            starts.append((v.count, [comment(f"what {v.name} starts from"), *constant(real, name, flat)]))
            what = f"{name}[i]"
        lines.append(f"for ({counter} i = 0; i < {v.count}; ++i) s->{v.c}[i] = {what};")
    if face.clock:
        lines.append(f"s->{face.clock} = 0;")
    return lines or ["s->empty = 0;"], starts


def _about_step(face: Interface) -> str:
    given, made = (", ".join(f"{v.name}: {v.about}" for v in values) for values in (face.inputs, face.outputs))
    return f"One step: of {given or 'nothing'} it makes {made}, and the new state."


def _macs(work: Work) -> int:
    """Multiply-accumulates of a step: the terms of all products and sums, as often as rounds compute them."""
    rounds: dict[int, int] = {}
    for loop_node, groups in work.inner.items():
        loop = work.nodes[loop_node].loop
        times = max(0, work.size(loop.high) - work.size(loop.low) + 1)
        for g in groups:
            for m in (*g.nodes, *g.sums, *([g.single] if g.single is not None else [])):
                rounds[m] = times
                rounds |= {n: times for n in (viewed(work.nodes, a) for a in work.nodes[m].args) if n in work.inlined}
    return sum(prod(map(work.size, node.domain)) * rounds.get(n, 1) for n, node in enumerate(work.nodes) if n in work.used and node.op in ("product", "sum"))


