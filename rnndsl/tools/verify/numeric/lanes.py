"""A component's lanes at a point: the values of its symbols, and what its Jacobian says of them."""

from dataclasses import dataclass, field

import sympy
import torch
from sympy import Expr as Formula
from sympy import Symbol
from torch import Tensor
from torch.nn import functional as F

from rnndsl.calculus.jacobian import Jacobian, Partials
from rnndsl.calculus.lanes import Lanes
from rnndsl.tools.verify.numeric.values import ELEMENTWISE, Sizes, Surrogate, inner, number, operate


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
            return Surrogate.apply(*torch.broadcast_tensors(*args)) if self.backward else args[1]
        if name == "conjugate":
            return torch.conj(args[0])
        if name == "Factored":  # two operations of one value, each linear in one factor
            assert torch.allclose(args[0].detach(), args[1].detach(), rtol=1e-9)
            return args[0]
        row = getattr(f.func, "row", None)
        if row is not None and row.definition:
            return self(f.written_out())
        return ELEMENTWISE[row.name if row is not None else name](*args)


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
        symbols = [*(s.symbol for s in self.lanes.slots), *(leaf.symbol for leaf in self.lanes.leaves)]
        return {s: self.values[s] for s in symbols}
