"""The models of a stack, `rnndsl.nn.Recurrent`: its layers one above the other, in one direction or both."""

from collections.abc import Sequence
from typing import Any

from onnx import GraphProto

from rnndsl.export.onnx.boundary import Boundary, Outside
from rnndsl.export.onnx.given import Given, free
from rnndsl.export.onnx.marks import marks
from rnndsl.export.onnx.sequence import whole_sequence
from rnndsl.export.onnx.step import Named, one_step
from rnndsl.export.onnx.values import Tensor
from rnndsl.export.onnx.writer import Writer


def stack_graph(net: Any, layers: Sequence[Given], doc: str, has_reset: bool, has_lengths: bool) -> GraphProto:
    """The graph of a sequence. layers: of each layer and direction, in the stack's order."""
    outside = Outside(2)
    places = _places(outside, layers)
    further = _inputs(net, places)
    states = [g.state() for g in places]
    found = marks(outside, free("reset", further) if has_reset else None, free("lengths", further) if has_lengths else None)
    up, ended = further[net.inputs[0]], []
    made: Named = {}
    for i in range(net.num_layers):
        both = []
        for backward in range(net.directions):
            k = i * net.directions + backward
            streams = _streams(places[k], up, further)
            if backward:
                streams = {n: [found.turned(x) for x in parts] for n, parts in streams.items()}
            outputs, new = whole_sequence(places[k], streams, states[k], found.backward() if backward else found)
            both.append({n: [found.turned(y) if backward else y for y in parts] for n, parts in outputs.items()})
            ended.append(new)
        made = both[0] if len(both) == 1 else {n: [_side_by_side(outside.main, *pair) for pair in zip(*(o[n] for o in both), strict=True)] for n in both[0]}
        up = made[_goes_up(net, i, places[i * net.directions].of)]
    return _returned(outside, places, made, ended, f"{layers[0].plan.cell.name}_stack", doc)


def stack_step_graph(net: Any, layers: Sequence[Given], doc: str) -> GraphProto:
    """The graph of a step of a stack that runs forwards."""
    outside = Outside(1)
    places = _places(outside, layers)
    further = _inputs(net, places)
    states = [g.state() for g in places]
    up, ended = further[net.inputs[0]], []
    made: Named = {}
    for i, g in enumerate(places):
        made, new = one_step(g, _streams(g, up, further), states[i])
        ended.append(new)
        up = made[_goes_up(net, i, g.of)]
    return _returned(outside, places, made, ended, f"{layers[0].plan.cell.name}_stack_step", doc)


def _places(outside: Outside, layers: Sequence[Given]) -> list[Boundary]:
    return [Boundary(of, outside, f"{k}.") for k, of in enumerate(layers)]


def _inputs(net: Any, places: Sequence[Boundary]) -> Named:
    """The real arrays of each input of the stack."""
    found: Named = {net.inputs[0]: places[0].stream(net.inputs[0], next(iter(places[0].of.inputs.values())))}
    for name in net.inputs[1:]:
        g = next(g for g in places if name in list(g.of.inputs)[1:])
        found[name] = g.stream(name, g.of.inputs[name])
    return found


def _streams(g: Boundary, up: list[Tensor], further: Named) -> Named:
    """The inputs of a layer: what comes from below, and those that go to every layer. What is real below may be taken for complex."""
    first, *others = g.of.inputs
    if g.of.inputs[first].is_complex and len(up) == 1:
        (x,) = up
        up = [x, Tensor(g.main.op("Expand", g.main.number(0), g.main.op("Shape", x.name)), x.lead, x.dims)]
    return {first: up} | {name: further[name] for name in others}


def _goes_up(net: Any, layer: int, of: Given) -> str:
    """The name of the output that the next layer takes."""
    fields = net.outputs[layer]  # which are called a little otherwise, where Python has no such name
    return list(of.outputs)[fields.index(net.output) if net.output and len(fields) > 1 else 0]


def _side_by_side(w: Writer, one: Tensor, other: Tensor) -> Tensor:
    """An output of both directions, along the last axis; scalars get one."""
    if not one.dims:
        return Tensor(w.op("Concat", *(w.op("Unsqueeze", y.name, w.ints(-1)) for y in (one, other)), axis=-1), one.lead, (2,))
    return Tensor(w.op("Concat", one.name, other.name, axis=-1), one.lead, (*one.dims[:-1], 2 * one.dims[-1]))


def _returned(outside: Outside, places: Sequence[Boundary], made: Named, ended: Sequence[Named], name: str, doc: str) -> GraphProto:
    for output, parts in made.items():
        outside.returns(f"output.{output}", parts, outside.lead)
    for g, new in zip(places, ended, strict=True):
        g.returns_state(new)
    return outside.graph(name, doc)
