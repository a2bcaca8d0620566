"""Names and their values, and expressions over them."""

from typing import Any

import torch
from torch import Tensor

from rnndsl.checks.cell import Apply, Cell, Draw, Expr, Let, Number, Ref, Repeat, Statement, Type, Update
from rnndsl.checks.prelude import body_of
from rnndsl.functions import COMPOUNDS
from rnndsl.plan.ir import Gemm
from rnndsl.tools.verify.numeric.values import C128, ELEMENTWISE, F64, Sizes, Surrogate, number, operate


class Scope:
    """What names stand for, by role, name and lag; values are in the layout."""

    def __init__(self, cell: Cell, layer: Any, tensors: dict[str, Tensor]):
        """tensors: params and consts by name. Sizes and hyperparameters are those of the layer."""
        self.cell, self.sizes = cell, Sizes(dict(layer._sizes))
        self.env: dict[tuple[str, str, int], Tensor] = {}
        for v in cell.variables:
            if v.name in tensors:
                self.put((v.role, v.name, 0), tensors[v.name], v.type)
        for name, value in layer._hypers.items():
            self.env["hyper", name, 0] = number(value)
        for name, size in layer._sizes.items():
            self.env["size", name, 0] = number(float(size))
        for v in cell.of_role("noise"):
            assert v.draw is not None
            self.env["noise", v.name, 0] = self.mean(v.draw)

    def put(self, key: tuple[str, str, int], value: Tensor, t: Type) -> None:
        """Names a tensor of the declared shape."""
        self.env[key] = self.sizes.laid(value.to(C128 if t.is_complex else F64), t)

    def mean(self, draw: Draw) -> Tensor:
        """What a noise is in evaluation."""
        args = [self.value(a) for a in draw.args]
        return (args[0] + args[1]) / 2 if draw.name == "uniform" else args[0]

    def operation(self, operation: Statement | Gemm) -> None:
        """Runs a line of a cell or of a plan."""
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
                begins = [self.value(p.start) for p in operation.passed]
                for k in range(low, high + 1):
                    self.env["counter", operation.counter, 0] = number(float(k))
                    self.env |= {("local", p.name, 0): value for p, value in zip(operation.passed, begins, strict=True)}
                    for let in operation.body:
                        self.operation(let)
                    begins = [self.env["local", p.last, 0] for p in operation.passed]
                self.env |= {("local", p.last, 0): value for p, value in zip(operation.passed, begins, strict=True)}

    def value(self, expr: Expr) -> Tensor:
        """The value of an expression."""
        match expr:
            case Number():
                return number(expr.value)
            case Ref():
                return self.env[expr.role, expr.name, expr.lag]
        if expr.op == "slice":
            return self.sliced(expr.args[0], round(self.value(expr.args[1]).item()))
        args = [self.value(a) for a in expr.args]
        if expr.op in COMPOUNDS:
            return self.compound(expr, args)
        if expr.op == "surrogate":
            return Surrogate.apply(*torch.broadcast_tensors(*args))
        if expr.op in ELEMENTWISE:
            return ELEMENTWISE[expr.op](*args)
        return operate(expr.op, args, [a.type for a in expr.args], expr.type, expr.static, self.sizes)

    def compound(self, expr: Apply, args: list[Tensor]) -> Tensor:
        """A function of the prelude: what it stands for, of the values of its arguments."""
        around = {key: value for key, value in self.env.items() if key[0] == "argument"}
        self.env |= {("argument", p, 0): a for p, a in zip(COMPOUNDS[expr.op].parameters, args, strict=True)}
        value = self.value(body_of(expr))
        self.env |= around
        return value

    def sliced(self, ref: Expr, k: int) -> Tensor:
        """Slice `k`, counted from 1, of the leading head axis."""
        inside = Type(ref.type.heads[1:], ref.type.axes, ref.type.is_complex)
        return self.sizes.laid(self.sizes.plain(self.value(ref), ref.type)[k - 1], inside)
