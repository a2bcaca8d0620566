"""A numeric evaluator of plans and of lane forms, independent of the emitter.

Every value is kept in one layout, [3 head axes, row, column], with size 1 where an axis is absent, so that elementwise
operations broadcast by themselves. There is no batch and one step of time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import sympy
import torch
from sympy import Expr as Formula
from sympy import Symbol
from torch import Tensor
from torch.nn import functional as F

from rnndsl.calculus.analysis import Component, System, analyse
from rnndsl.calculus.jacobian import Jacobian, Partials
from rnndsl.calculus.lanes import Lanes
from rnndsl.checks.cell import Apply, Expr, Let, Number, Ref, Repeat, Type, Update
from rnndsl.compiler import checked, plans
from rnndsl.diagnostics import Source
from rnndsl.plan.ir import Gemm, Map, Plan, Scan

HEADS = 3
F64, C128 = torch.float64, torch.complex128


# Layout


@dataclass(frozen=True)
class Sizes:
    """The sizes of a cell, and shapes under them."""

    values: dict[str, int]

    def shape(self, t: Type) -> tuple[int, ...]:
        """The declared shape."""
        return tuple(int(d.evaluate(self.values)) for d in (*t.heads, *t.axes))

    def layout(self, t: Type) -> tuple[int, ...]:
        """The shape with every axis in its place."""
        heads, axes = self.shape(t)[: len(t.heads)], self.shape(t)[len(t.heads) :]
        return (1,) * (HEADS - len(heads)) + heads + axes + (1,) * (2 - len(axes))

    def spread(self, value: Tensor, t: Type) -> Tensor:
        """A value, broadcast to a type, in the layout."""
        return value.expand(torch.broadcast_shapes(value.shape, self.layout(t)))

    def laid(self, value: Tensor, t: Type) -> Tensor:
        """A tensor of the declared shape, in the layout."""
        return value.reshape(self.layout(t))

    def plain(self, value: Tensor, t: Type) -> Tensor:
        """A value of the layout in its declared shape."""
        return self.spread(value, t).reshape(self.shape(t))


def operate(operation: str, args: list[Tensor], types: list[Type], t: Type, static: tuple, sizes: Sizes) -> Tensor:
    """An operation that is not elementwise, on values of the layout."""
    args = [sizes.spread(a, u) for a, u in zip(args, types, strict=True)]
    match operation:
        case "@":
            a, b = args
            if types[0].rank == 1:
                a = a.transpose(-1, -2)
            out = a.to(torch.promote_types(a.dtype, b.dtype)) @ b.to(torch.promote_types(a.dtype, b.dtype))
            return out.transpose(-1, -2) if types[0].rank == 1 and types[1].rank == 2 else out
        case "sum":
            return args[0].sum(-2, keepdim=True)
        case "max":
            return args[0].amax(-2, keepdim=True)
        case "mean":
            return args[0].mean(-2, keepdim=True)
        case "cumsum":
            return args[0].cumsum(-2)
        case "dot":
            return (args[0] * args[1]).sum(-2, keepdim=True)
        case "outer":
            return args[0] * args[1].transpose(-1, -2)
        case "broadcast" | "rows" if len(args) == 1:
            return sizes.spread(args[0], t)
        case "columns":
            return sizes.spread(args[0].transpose(-1, -2), t)
        case "concat" | "rows":
            lead = torch.broadcast_shapes(*(a.shape[:-2] for a in args))
            dtype = C128 if any(a.is_complex() for a in args) else F64
            return torch.cat([a.to(dtype).expand(*lead, *a.shape[-2:]) for a in args], -2)
        case "split":
            n, i = static
            return args[0].chunk(n, -2)[i]
        case "transpose":
            return args[0].transpose(-1, -2)
        case "merge" | "heads" | "reshape":
            return sizes.plain(args[0], types[0]).reshape(sizes.layout(t))
        case "diag":
            return args[0] * torch.eye(args[0].shape[-2], dtype=F64)
        case "slice":
            raise AssertionError("slices are looked up")
        case "eye":
            return torch.eye(sizes.layout(t)[-1], dtype=F64).reshape(sizes.layout(t))
        case "ones":
            return torch.ones(sizes.layout(t), dtype=F64)
        case "expm":
            return torch.linalg.matrix_exp(args[0])
    (v,) = args
    match operation:
        case "softmax":
            return torch.softmax(v, -2)
        case "normalize":
            return v / torch.sqrt((v * v).sum(-2, keepdim=True) + 1e-12)
        case "rmsnorm":
            return v / torch.sqrt((v * v).mean(-2, keepdim=True) + 1e-5)
        case "layernorm":
            d = v - v.mean(-2, keepdim=True)
            return d / torch.sqrt((d * d).mean(-2, keepdim=True) + 1e-5)
        case "norm":
            return torch.linalg.vector_norm(v, dim=-2, keepdim=True)
    raise NotImplementedError(operation)


# Elementwise functions, for expressions and for formulas


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=40.0)


def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    same = (a == b) & torch.isinf(a)
    return torch.maximum(a, b) + _softplus(-torch.where(same, torch.zeros_like(a - b), a - b).abs())


def _compare(function: Callable) -> Callable:
    return lambda a, b: function(a, b).to(F64)


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt,
    "abs": torch.abs, "absolute": torch.abs, "sign": torch.sign, "softplus": _softplus, "logsigmoid": lambda x: -_softplus(-x),
    "silu": F.silu, "gelu": lambda x: F.gelu(x, approximate="tanh"), "elu": F.elu, "sin": torch.sin, "cos": torch.cos,
    "floor": torch.floor, "heaviside": lambda x: (x > 0).to(F64), "re": lambda x: torch.real(x) if x.is_complex() else x,
    "imag_part": lambda x: x.imag if x.is_complex() else torch.zeros_like(x), "im": lambda x: x.imag if x.is_complex() else torch.zeros_like(x), "conj": torch.conj, "max": torch.maximum,
    "maximum": torch.maximum, "min": torch.minimum, "minimum": torch.minimum, "logaddexp": _logaddexp, "mod": torch.remainder,
    "where": lambda c, a, b: torch.where(c != 0, *_promoted(a, b)), "real_part": torch.real, "modulus": torch.abs, "root": torch.sqrt, "power": torch.pow,
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "^": torch.pow, "neg": torch.neg, "broadcast": lambda x: x,
    **{op: _compare(f) for ops, f in (
        (("<", "less"), torch.lt), (("<=", "less_equal"), torch.le), ((">", "greater"), torch.gt),
        ((">=", "greater_equal"), torch.ge), (("==", "equal"), torch.eq), (("!=", "not_equal"), torch.ne)) for op in ops},
}  # fmt: skip


def _promoted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def number(value: complex) -> Tensor:
    """A number in the layout."""
    return torch.full((1,) * (HEADS + 2), value, dtype=C128 if isinstance(value, complex) else F64)


class _Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        return grad * ctx.saved_tensors[0], None, None


@dataclass
class Formulas:
    """Values of SymPy formulas over values of symbols. `backward`: surrogates have the derivative that the program gives them."""

    values: dict[Symbol, Tensor]
    backward: bool = False
    memo: dict[Formula, Tensor] = field(default_factory=dict)

    def __call__(self, formula: Formula) -> Tensor:
        if formula in self.values:
            return self.values[formula]
        if formula not in self.memo:
            self.memo[formula] = self.compute(formula)
        return self.memo[formula]

    def compute(self, f: Formula) -> Tensor:
        if f is sympy.I:
            return number(1j)
        if f.is_Number or f.is_NumberSymbol:
            return number(float(f))
        if f.is_Pow:
            base, exponent = f.args
            if exponent.is_Integer:
                return self(base) ** int(exponent)
            return self(base) ** (float(exponent) if exponent.is_Number else self(exponent))
        args = [self(a) for a in f.args]
        name = f.func.__name__
        if f.is_Add or f.is_Mul:
            total = args[0]
            for a in args[1:]:
                total = total + a if f.is_Add else total * a
            return total
        if name == "surrogate":
            return _Surrogate.apply(*torch.broadcast_tensors(*args)) if self.backward else args[1]
        if name == "conjugate":
            return torch.conj(args[0])
        if name == "_Product":  # two operations of one value, each linear in one factor
            assert torch.allclose(args[0].detach(), args[1].detach(), rtol=1e-9)
            return args[0]
        return ELEMENTWISE[name](*args)


# One step of a plan


class Step:
    """One step of a cell at a point: every name of the plan, in the layout, and each component's lanes."""

    def __init__(self, text: str, cell: str | None, layer, inputs: list[Tensor], state: tuple[Tensor, ...]):
        """inputs, state: one step of one sequence, without a batch."""
        source = Source("cell.rnn", text)
        found = plans(checked(source).program)
        self.plan: Plan = next(p for p in found if cell in (None, p.cell.name))
        self.sizes = Sizes(dict(layer._sizes))
        self.system: System = analyse(self.plan, source, dict(layer._sizes))
        self.env: dict[tuple, Tensor] = {}
        types = {v.name: v.type for v in self.plan.cell.variables}
        for name in layer._tensors:
            role = next(v.role for v in self.plan.cell.variables if v.name == name)
            self.env[role, name, 0] = self.sizes.laid(getattr(layer, name).detach(), types[name])
        for name, value in layer._hypers.items():
            self.env["hyper", name, 0] = number(value)
        for name, size in layer._sizes.items():
            self.env["size", name, 0] = number(float(size))
        for v, x in zip(self.plan.cell.of_role("input"), inputs, strict=True):
            self.env["input", v.name, 0] = self.sizes.laid(x, v.type)
        self.fields = list(self.plan.carries)
        for carry, value in zip(self.fields, state, strict=True):
            self.env[carry.role, carry.source, carry.lag] = self.sizes.laid(value.to(C128 if value.is_complex() else F64), carry.type)
        for v in self.plan.cell.of_role("noise"):
            self.env["noise", v.name, 0] = self.mean(v.draw)
        self.points: list[tuple[Component, Point]] = []
        self.run()

    def mean(self, draw) -> Tensor:
        args = [self.value(a) for a in draw.args]
        return (args[0] + args[1]) / 2 if draw.name == "uniform" else args[0]

    def run(self) -> None:
        for constant in self.plan.constants:
            self.operation(constant)
        scans = iter(c for c in self.system.components if c.scan is not None)
        for stage in self.plan.stages:
            if isinstance(stage, Map):
                for operation in stage.body:
                    self.operation(operation)
            else:
                self.scan(stage, next(scans))

    def scan(self, scan: Scan, component: Component) -> None:
        assert component.scan is scan
        assert component.lanes is not None
        lanes = component.lanes
        values = {s.symbol: self.env["state", s.state, s.lag] for s in lanes.slots}
        for leaf in lanes.leaves:
            if leaf.expr is not None:
                values[leaf.symbol] = self.leaf(leaf.expr, leaf.operands)
        point = Point(lanes, self.sizes, values)
        for state, value in point.updates.items():
            self.env["state", state, 0] = value
        self.points.append((component, point))

    def leaf(self, expr: Expr, operands: tuple[Formula, ...]) -> Tensor:
        if isinstance(expr, Apply):  # a slice whose number is known
            (k,) = operands
            return self.sliced(expr.args[0], int(k))
        return self.value(expr)

    def sliced(self, ref: Ref, k: int) -> Tensor:
        inner = Type(ref.type.heads[1:], ref.type.axes, ref.type.is_complex)
        return self.sizes.laid(self.sizes.plain(self.value(ref), ref.type)[k - 1], inner)

    def operation(self, operation) -> None:
        match operation:
            case Let():
                self.env["local", operation.name, 0] = self.value(operation.value)
            case Update():
                self.env["state", operation.state, 0] = self.value(operation.value)
            case Gemm():
                for name, product in zip(operation.results, operation.products, strict=True):
                    self.env["local", name, 0] = self.value(product)
            case Repeat():
                low, high = (int(d.evaluate(self.sizes.values)) for d in (operation.low, operation.high))
                for k in range(low, high + 1):
                    self.env["counter", operation.counter, 0] = number(float(k))
                    for let in operation.body:
                        self.operation(let)

    def value(self, expr: Expr) -> Tensor:
        """The value of a plan's expression."""
        match expr:
            case Number():
                return number(expr.value)
            case Ref():
                return self.env[expr.role, expr.name, expr.lag]
        if expr.op == "slice":
            return self.sliced(expr.args[0], round(self.value(expr.args[1]).item()))
        args = [self.value(a) for a in expr.args]
        if expr.op == "surrogate":
            return _Surrogate.apply(*torch.broadcast_tensors(*args))
        if expr.op in ELEMENTWISE:
            return ELEMENTWISE[expr.op](*args)
        return operate(expr.op, args, [a.type for a in expr.args], expr.type, expr.static, self.sizes)


# One step of a component in lane form


class Point:
    """A component's lanes at a point: `values` of every symbol, `updates` by state."""

    def __init__(self, lanes: Lanes, sizes: Sizes, given: dict[Symbol, Tensor], backward: bool = False):
        self.lanes, self.sizes = lanes, sizes
        self.values = dict(given)
        self.formulas = Formulas(self.values, backward)
        definitions, mixes = lanes.definitions, {m.symbol: m for m in lanes.mixes}
        waiting = [leaf for leaf in lanes.leaves if leaf.symbol not in self.values]
        for symbol in (*lanes.order, None):
            ready = [leaf for leaf in waiting if all(o.free_symbols <= self.values.keys() for o in leaf.operands)]
            while ready:
                for leaf in ready:
                    operands = [self.formulas(o) for o in leaf.operands]
                    types = list(leaf.operand_types)
                    self.values[leaf.symbol] = operate(leaf.operation, operands, types, leaf.type, leaf.static, sizes)
                waiting = [leaf for leaf in waiting if leaf not in ready]
                ready = [leaf for leaf in waiting if all(o.free_symbols <= self.values.keys() for o in leaf.operands)]
            if symbol is None:
                break
            if symbol in definitions:
                self.values[symbol] = self.formulas(definitions[symbol])
            else:
                self.values[symbol] = self.mixed(mixes[symbol], self.formulas(mixes[symbol].operand))
        assert not waiting
        kinds = {s.state: s.type for s in lanes.slots}
        self.updates = {state: sizes.spread(self.formulas(f), kinds[state]) for state, f in lanes.updates}

    def mixed(self, mix, operand: Tensor, other: Tensor | None = None) -> Tensor:
        """A mix's linear operation on an operand (or on a tangent of it)."""
        if mix.operation == "concat":
            (offset,) = (int(d.evaluate(self.sizes.values)) for d in mix.static)
            operand = self.sizes.spread(operand, mix.operand_type)
            after = self.sizes.layout(mix.type)[-2] - offset - operand.shape[-2]
            return F.pad(operand, (0, 0, offset, after))
        args, types = [operand], [mix.operand_type]
        if mix.operation == "@":
            other = self.formulas(mix.others[0]) if other is None else other
            at = 1 - mix.argument
            args.insert(at, other)
            types.insert(at, mix.other_types[0])
        return operate(mix.operation, args, types, mix.type, mix.static, self.sizes)

    def derivative(self, jacobian: Jacobian, tangents: dict[Symbol, Tensor]) -> dict[str, Tensor]:
        """The JVP by the Jacobian's entries: tangents of slots and leaves to tangents of the new states."""
        formulas = Formulas(dict(self.values))
        for symbol, formula in jacobian.locals:
            formulas.values[symbol] = formulas(formula)
        moved = dict(tangents)

        def along(p: Partials) -> Tensor:
            total = number(0.0)
            for key, entry in p.by.items():
                symbol = jacobian.conjugates.get(key, key)
                if symbol in moved:
                    d = moved[symbol]
                    total = total + formulas(entry) * (d if symbol is key else torch.conj(d))
            return total

        by_mix = dict(zip((m.symbol for m in self.lanes.mixes), jacobian.operands, strict=True))
        for mix, factor in zip(self.lanes.mixes, jacobian.factors, strict=True):
            moved[mix.symbol] = self.mixed(mix, along(by_mix[mix.symbol]))
            if factor.by:
                moved[mix.symbol] = moved[mix.symbol] + self.mixed(mix, self.formulas(mix.operand), along(factor))
        types = {s.state: s.type for s in self.lanes.slots}
        return {p.root: self.sizes.spread(along(p), types[p.root]) for p in jacobian.updates}

    def gradients(self, given: dict[Symbol, Tensor], weights: dict[str, Tensor], backward: bool) -> dict[Symbol, Tensor]:
        """Autograd's gradient of Re Σ conj(weight) · new state, through this evaluator."""
        leaves = {s: v.detach().clone().requires_grad_() for s, v in given.items()}
        point = Point(self.lanes, self.sizes, leaves, backward)
        total = sum(inner(weights[s], u) for s, u in point.updates.items())
        if not isinstance(total, Tensor) or not total.requires_grad:
            return {s: torch.zeros_like(v) for s, v in given.items()}
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(leaves, found, strict=True))

    def given(self) -> dict[Symbol, Tensor]:
        """The values of slots and leaves."""
        return {x.symbol: self.values[x.symbol] for x in (*self.lanes.slots, *self.lanes.leaves)}


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Re Σ conj(a) b."""
    return torch.real(torch.conj(a) * b).sum()


def random_like(v: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(v.shape, dtype=v.dtype, generator=generator)


__all__ = ["Formulas", "Point", "Sizes", "Step", "inner", "random_like"]
