"""The test oracle: a naive interpreter of the language, written from its reference page and from nothing else.

It walks the syntax tree once a step and computes in plain PyTorch, in the dtype of the tensors that it is given. It is
slow, it is differentiable, and it shares only the parser with the compiler.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rnndsl.diagnostics import Source
from rnndsl.syntax import ast
from rnndsl.syntax.parser import parse


@dataclass(frozen=True)
class Value:
    """A tensor [batch, *heads, *axes] whose first `heads` dimensions after the batch are head axes.

    The batch is 1 for what depends on params alone.
    """

    tensor: Tensor
    heads: int = 0

    @property
    def rank(self) -> int:
        return self.tensor.dim() - 1 - self.heads

    @property
    def head_sizes(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[1 : 1 + self.heads])

    @property
    def axis_sizes(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[1 + self.heads :])


@dataclass(frozen=True)
class Slot:
    """What a declaration says of one name: its full shape (head axes first) and, for a param, its open interval."""

    shape: tuple[int, ...]
    heads: int
    is_complex: bool
    low: float = -math.inf
    high: float = math.inf


Scope = dict[tuple[str, int], Value]  # (name, steps back) -> value; everything without a time has 0


class Oracle:
    """One cell of a program, ready to be run.

    `cell` names it; without a name it is the first cell of the file.
    """

    def __init__(self, text: str, cell: str | None = None):
        file = parse(Source("oracle.rnn", text))
        self.cell = next(c for c in file.cells if cell in (None, c.name.id))
        self.functions = {f.name.id: f for f in file.functions}

    def run(
        self,
        sizes: dict[str, int | float],
        tensors: dict[str, Tensor],
        inputs: list[Tensor],
        state: dict[str, Tensor] | None = None,
        reset: Tensor | None = None,
        noise: float = 0.0,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The outputs, [B, T, …] each, and the declared states after the last step.

        `sizes` holds the header's names (a hyperparameter may be left out), `tensors` the params (constrained) and
        consts in their declared shapes, `inputs` the streams [B, T, …] in declared order, `state` any of the declared
        states [B, …]; `reset` is a bool [B, T]. With `noise` every result of an operation is off by about that much,
        relative to itself, as rounding makes it; whole numbers are exact.
        """
        return _Run(self, sizes, tensors, inputs, noise).over_time(state or {}, reset)

    def consts(self, sizes: dict[str, int | float]) -> dict[str, Tensor]:
        """The consts with a value, in their declared shapes and in float64."""
        run = _Run(self, sizes, {}, [])
        valued = (n for n in run.slots("const") if run.declarations[n].value is not None)
        return {n: run.lookup_fixed(n).tensor[0] for n in valued}

    def declared(self, role: str, sizes: dict[str, int | float]) -> dict[str, Slot]:
        """The names of a role (input, state, param, const, noise), in declared order, with their sizes filled in."""
        return _Run(self, sizes, {}, []).slots(role)


class _Run:
    """One call: sizes, tensors, and what has happened so far."""

    def __init__(
        self,
        oracle: Oracle,
        sizes: dict[str, int | float],
        tensors: dict[str, Tensor],
        inputs: list[Tensor],
        noise: float = 0.0,
    ):
        self.oracle, self.cell, self.tensors, self.noise = oracle, oracle.cell, tensors, noise
        like = next(iter([*inputs, *tensors.values()]), torch.zeros((), dtype=torch.float64))
        self.dtype, self.device = like.dtype.to_real(), like.device
        declarations = (s for s in self.cell.statements if isinstance(s, ast.Declaration))
        self.declarations = {n.id: d for d in declarations for n in d.names}
        self.fixed: dict[str, Value] = {}  # what no step changes: sizes, params, consts, means of noise
        for item in self.cell.header:
            given = sizes.get(item.name.id)
            self.fixed[item.name.id] = self.evaluate(item.default, {}) if given is None else self.scalar(given)
        self.all_slots = {name: self.slot(d) for name, d in self.declarations.items()}
        self.streams = dict(zip(self.slots("input"), inputs, strict=True)) if inputs else {}
        self.batch, self.length = inputs[0].shape[:2] if inputs else (1, 0)

    # Declarations

    def scalar(self, number: float | complex) -> Value:
        """A number as a value."""
        dtype = self.dtype.to_complex() if isinstance(number, complex) else self.dtype
        return Value(torch.tensor([number], dtype=dtype, device=self.device))

    def size(self, expr: ast.Expr, scope: Scope | None = None) -> int:
        """An expression that stands for a size or a counter."""
        return round(self.evaluate(expr, scope or {}).tensor.item())

    def slot(self, declaration: ast.Declaration) -> Slot:
        """The shape that a declaration gives to each of its names."""
        shape, bounds = declaration.shape, {}
        if isinstance(declaration.constraint, ast.Above | ast.Between):
            bounds["low"] = self.evaluate(declaration.constraint.low, {}).tensor.item()
        if isinstance(declaration.constraint, ast.Between):
            bounds["high"] = self.evaluate(declaration.constraint.high, {}).tensor.item()
        numbers = tuple(self.size(e) for e in (*shape.heads, *shape.axes))
        return Slot(numbers, len(shape.heads), shape.is_complex, **bounds)

    def slots(self, role: str) -> dict[str, Slot]:
        """Every name of a role with its slot, in declared order."""
        return {name: self.all_slots[name] for name, d in self.declarations.items() if d.role == role}

    def fill(self, value: Value, slot: Slot) -> Value:
        """A value in exactly the declared shape: scalars and values without head axes broadcast."""
        heads, axes = slot.shape[: slot.heads], slot.shape[slot.heads :]
        if value.head_sizes not in ((), heads) or value.axis_sizes not in ((), axes):
            raise ValueError(f"a value {value.head_sizes};{value.axis_sizes} does not fit {heads};{axes}")
        tensor = _with_ranks(value, slot.heads, len(axes)).expand(value.tensor.shape[0], *slot.shape)
        if slot.is_complex:
            tensor = tensor.to(self.dtype.to_complex())
        elif tensor.is_complex():
            raise ValueError("a complex value does not fit a real name")
        return Value(tensor, slot.heads)

    def given(self, tensor: Tensor, slot: Slot) -> Value:
        """A tensor from the caller, [B, …], checked against its declaration."""
        if tuple(tensor.shape[1:]) != slot.shape:
            raise ValueError(f"expected [batch, {slot.shape}], got {tuple(tensor.shape)}")
        return self.fill(Value(tensor, slot.heads), slot)

    def lookup_fixed(self, name: str) -> Value:
        """A header name, param, const or (the mean of a) noise; worked out when it is first asked for."""
        if name not in self.fixed:
            declaration = self.declarations[name]
            slot = self.slot(declaration)
            if name in self.tensors:
                value = self.given(self.tensors[name].unsqueeze(0), slot)
            elif declaration.role == "noise":
                value = self.mean(declaration.draw)
            elif declaration.role == "const":
                value = self.evaluate(declaration.value, {}) if declaration.value else self.scalar(0.0)
            else:
                raise KeyError(name)
            self.fixed[name] = self.fill(value, slot)
        return self.fixed[name]

    def mean(self, draw: ast.Draw) -> Value:
        """The mean of a distribution."""
        arguments = [self.evaluate(a, {}) for a in draw.arguments]
        if draw.name.id == "uniform":
            return self.elementwise(lambda low, high: (low + high) / 2, *arguments)
        return arguments[0]  # bernoulli(p), normal(mean, std)

    # Time

    def over_time(self, state: dict[str, Tensor], reset: Tensor | None) -> tuple[dict, dict]:
        """Runs all steps.

        `history[name][s + 1]` is the value at step s; `start[b]` is the first step that sequence b can still see: -1
        (the state that the call began with) until its first reset, then the step of its latest reset.
        """
        states = self.slots("state")
        self.initial: dict[str, Value] = {}
        for name, slot in (self.slots("input") | states).items():
            value = self.declarations[name].value
            filled = self.fill(self.evaluate(value, {}) if value else self.scalar(0.0), slot)
            self.initial[name] = Value(filled.tensor.expand(self.batch, *slot.shape), slot.heads)
        self.history = {n: [v] for n, v in self.initial.items()}
        self.history |= {n: [self.given(tensor, states[n])] for n, tensor in state.items()}
        self.start = torch.full((self.batch,), -1, device=self.device)
        collected: dict[str, list[Tensor]] = {r.name.id: [] for r in self.returned()}
        for now in range(self.length):
            self.now = now
            if reset is not None:
                self.start = torch.where(reset[:, now], now, self.start)
            for name, value in self.step().items():
                collected[name].append(value.tensor.expand(self.batch, *value.tensor.shape[1:]))
        return {n: torch.stack(v, 1) for n, v in collected.items()}, {n: self.history[n][-1].tensor for n in states}

    def returned(self) -> list[ast.Returned]:
        return [r for s in self.cell.statements if isinstance(s, ast.Output) for r in s.returned]

    def step(self) -> dict[str, Value]:
        """One step: the inputs arrive, the statements run in order, the outputs are read."""
        clock = self.now - self.start.clamp(min=0)
        scope: Scope = {("t", 0): Value(clock.to(self.dtype))}
        for name, slot in self.slots("input").items():
            scope[name, 0] = self.given(self.streams[name][:, self.now], slot)
            self.history[name].append(scope[name, 0])
        self.execute(self.cell.statements, scope)
        for name in self.slots("state"):
            self.history[name].append(scope[name, 0])
        return {r.name.id: self.evaluate(r.value or r.name, scope) for r in self.returned()}

    def execute(self, statements: tuple[ast.Statement, ...], scope: Scope) -> None:
        """Runs equations in textual order."""
        for statement in statements:
            if isinstance(statement, ast.Assign):
                self.assign(statement, scope)
            elif isinstance(statement, ast.Repeat):
                counter = (statement.variable.id, 0)
                for k in range(self.size(statement.low), self.size(statement.high) + 1):
                    scope[counter] = self.scalar(k)
                    self.execute(statement.body, scope)
                    del scope[counter]

    def assign(self, statement: ast.Assign, scope: Scope) -> None:
        """`z = …`, `i, f = split(…)` or `h[t] = …`."""
        value = self.evaluate(statement.value, scope)
        values = value if isinstance(value, list) else [value]
        for target, part in zip(statement.targets, values, strict=True):
            name = target.name.id
            if target.index is not None:
                part = self.fill(part, self.all_slots[name])
                part = Value(part.tensor.expand(self.batch, *part.tensor.shape[1:]), part.heads)
            scope[name, 0] = part

    def past(self, name: str, lag: int) -> Value:
        """A state or input some steps back; before the start of its sequence it has its initial value."""
        at = self.now - lag
        initial = self.initial[name]
        if at < -1:
            return initial
        old = self.history[name][at + 1]
        visible = (self.start <= at).reshape(-1, *[1] * (old.tensor.dim() - 1))
        return Value(torch.where(visible, old.tensor, initial.tensor), old.heads)

    # Expressions

    def evaluate(self, expr: ast.Expr, scope: Scope) -> Value:
        """The value of an expression; for `split`, which only a line of several names can take, a list of them."""
        value = self.exactly(expr, scope)
        if not self.noise or not isinstance(value, Value) or not isinstance(expr, ast.Binary | ast.Call):
            return value
        off = 1 + self.noise * torch.randn(value.tensor.shape, dtype=self.dtype, device=self.device)
        whole = value.tensor.detach() == value.tensor.detach().real.round()
        return Value(torch.where(whole, value.tensor, value.tensor * off), value.heads)

    def exactly(self, expr: ast.Expr, scope: Scope) -> Value:
        """The value of an expression as it is, whose parts may be noisy."""
        match expr:
            case ast.Number(value=number):
                return self.scalar(number)
            case ast.Name(id=name):
                return scope[name, 0] if (name, 0) in scope else self.lookup_fixed(name)
            case ast.Prefix(op=op, operand=operand):
                value = self.evaluate(operand, scope)
                return Value(-value.tensor, value.heads) if op == "-" else value
            case ast.Binary(op="@", left=left, right=right):
                return self.product(self.evaluate(left, scope), self.evaluate(right, scope))
            case ast.Binary(op="^", left=left, right=ast.Number(value=float() as power)) if power.is_integer() and abs(power) < 2**53:
                return self.elementwise(lambda a: a ** int(power), self.evaluate(left, scope))
            case ast.Binary(op=op, left=left, right=right):
                return self.elementwise(self.operators()[op], self.evaluate(left, scope), self.evaluate(right, scope))
            case ast.Attribute(base=base, name="T"):
                value = self.evaluate(base, scope)
                _need(value.rank == 2, ".T needs a matrix")
                return Value(value.tensor.transpose(-1, -2), value.heads)
            case ast.Index(base=base, arguments=arguments):
                return self.index(base.id, arguments, scope)
            case ast.Call(function=function, arguments=arguments):
                if function.id in self.oracle.functions:
                    values = [self.evaluate(a, scope) for a in arguments]
                    return self.inlined(self.oracle.functions[function.id], values)
                return self.builtin(function.id, arguments, scope)
        raise TypeError(f"not an expression: {expr}")

    def index(self, name: str, arguments: tuple[ast.Expr, ...], scope: Scope) -> Value:
        """`h[t-1]` or `W[k]`."""
        if name in self.declarations and self.declarations[name].role in ("state", "input"):
            (when,) = arguments
            lag = 0 if isinstance(when, ast.Name) else self.size(when.right)
            return scope[name, 0] if lag == 0 else self.past(name, lag)
        value = self.lookup_fixed(name)
        for argument in arguments:
            k = self.size(argument, scope)
            _need(value.heads > 0 and 1 <= k <= value.tensor.shape[1], f"{name} has no slice {k}")
            value = Value(value.tensor[:, k - 1], value.heads - 1)
        return value

    def inlined(self, function: ast.FunctionDef, arguments: list[Value]) -> Value:
        """A call of a `def`. With `grad`, the body is constant to autograd and its slope is the given one."""
        scope = {(p.id, 0): a for p, a in zip(function.parameters, arguments, strict=True)}
        value = self.evaluate(function.body, scope)
        if function.slope is None:
            return value
        slope = self.evaluate(function.slope, scope)
        return self.elementwise(
            lambda y, dy, v: y.detach() + dy.detach() * (v - v.detach()), value, slope, arguments[0]
        )

    def elementwise(self, function: Callable[..., Tensor], *values: Value) -> Value:
        """Equal shapes, or scalars with anything; head axes broadcast."""
        heads, rank = max(v.heads for v in values), max(v.rank for v in values)
        for sizes in ({v.head_sizes for v in values}, {v.axis_sizes for v in values}):
            _need(len(sizes - {()}) <= 1, f"shapes {sizes} do not go together")
        return Value(function(*(_with_ranks(v, heads, rank) for v in values)), heads)

    def product(self, a: Value, b: Value) -> Value:
        """`a @ b`, head by head."""
        rules = {(2, 1): "ij,...j->...i", (1, 2): "i,...ij->...j", (2, 2): "ij,...jk->...ik", (1, 1): "i,...i->..."}
        heads = max(a.heads, b.heads)
        _need(a.axis_sizes[-1:] == b.axis_sizes[:1] != (), f"{a.axis_sizes} @ {b.axis_sizes}")
        dtype = torch.promote_types(a.tensor.dtype, b.tensor.dtype)
        tensors = (_with_ranks(v, heads, v.rank).to(dtype) for v in (a, b))
        return Value(torch.einsum("..." + rules[a.rank, b.rank], *tensors), heads)

    def operators(self) -> dict[str, Callable[..., Tensor]]:
        number = lambda truth: truth.to(self.dtype)  # noqa: E731
        return {
            "+": lambda a, b: a + b,
            "-": lambda a, b: a - b,
            "*": lambda a, b: a * b,
            "/": lambda a, b: a / b,
            "^": lambda a, b: a**b,
            "<": lambda a, b: number(a < b),
            "<=": lambda a, b: number(a <= b),
            ">": lambda a, b: number(a > b),
            ">=": lambda a, b: number(a >= b),
            "==": lambda a, b: number(a == b),
            "!=": lambda a, b: number(a != b),
        }

    def builtin(self, name: str, arguments: tuple[ast.Expr, ...], scope: Scope) -> Value:
        """A built-in function."""
        values = [self.evaluate(a, scope) for a in arguments]
        first = values[0]
        size = lambda i: round(values[i].tensor.item())  # noqa: E731
        if name in ELEMENTWISE:
            return self.elementwise(ELEMENTWISE[name], *values)
        if name in ALONG or name in REDUCING:
            _need(first.rank == 1, f"{name} needs a vector")
            return Value({**ALONG, **REDUCING}[name](first.tensor), first.heads)
        options = {"dtype": self.dtype, "device": self.device}
        tensors = [_with_ranks(v, max(u.heads for u in values), v.rank) for v in values]
        heads = max(v.heads for v in values)
        match name:
            case "dot":
                _need(first.rank == values[1].rank == 1, "dot needs vectors")
                return self.product(*values)
            case "outer":
                _need(first.rank == values[1].rank == 1, "outer needs vectors")
                return Value(tensors[0].unsqueeze(-1) * tensors[1].unsqueeze(-2), heads)
            case "diag":
                _need(first.rank == 1, "diag needs a vector")
                return Value(first.tensor.unsqueeze(-1) * torch.eye(first.axis_sizes[0], **options), heads)
            case "concat":
                _need(all(v.rank == 1 for v in values), "concat needs vectors")
                lead = torch.broadcast_shapes(*(t.shape[:-1] for t in tensors))
                return Value(torch.cat([t.expand(*lead, t.shape[-1]) for t in tensors], -1), heads)
            case "split":
                _need(first.rank == 1 and first.axis_sizes[0] % size(1) == 0, "split needs equal parts of a vector")
                return [Value(p, heads) for p in first.tensor.split(first.axis_sizes[0] // size(1), -1)]
            case "merge":
                _need(first.heads > 0 and first.rank <= 1, "merge needs a scalar or a vector a head")
                return Value(first.tensor.flatten(1))
            case "heads":
                _need(first.heads == 0 and first.rank == 1, "heads needs a vector without head axes")
                n, own = size(1), first.axis_sizes[0]
                return Value(first.tensor if own == n else first.tensor.unflatten(-1, (n, own // n)), 1)
            case "reshape":
                new = [size(i) for i in range(1, len(values))]
                return Value(first.tensor.reshape(first.tensor.shape[0], *first.head_sizes, *new), first.heads)
            case "eye":
                return Value(torch.eye(size(0), **options).unsqueeze(0))
            case "ones":
                return Value(torch.ones(1, size(0), **options))
            case "expm":
                _need(first.rank == 2, "expm needs a matrix")
                return Value(torch.linalg.matrix_exp(first.tensor), heads)
        raise NameError(name)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _with_ranks(value: Value, heads: int, rank: int) -> Tensor:
    """A value's tensor with dimensions of size 1 for the head axes and axes that it lacks."""
    head_sizes = value.head_sizes or (1,) * heads
    axis_sizes = value.axis_sizes or (1,) * rank
    return value.tensor.reshape(value.tensor.shape[0], *head_sizes, *axis_sizes)


# The built-in functions, from their definitions. Gradients where a function has none: those of the chosen branch.


def _logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp a + exp b), also where one or both are infinite (there it is constant)."""
    high, low = torch.maximum(a, b), torch.minimum(a, b)
    infinite = high.isinf()
    high_, low_ = high.masked_fill(infinite, 0), low.masked_fill(infinite, 0)
    limit = torch.where(high > 0, math.inf, -math.inf).to(high.dtype)
    return torch.where(infinite, limit, high_ + torch.log1p(torch.exp(low_ - high_)))


def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    kind = torch.promote_types(a.dtype, b.dtype)  # torch.where has no gradient for a real and a complex branch
    return torch.where(condition != 0, a.to(kind), b.to(kind))


def _softplus(v: Tensor) -> Tensor:
    return _logaddexp(v, torch.zeros_like(v))


def _gelu(v: Tensor) -> Tensor:
    return v / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))


def _softmax(v: Tensor) -> Tensor:
    e = torch.exp(v - v.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def _layernorm(v: Tensor) -> Tensor:
    centred = v - v.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5)


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": lambda v: torch.where(v > 0, v, 0),
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": lambda v: (v > 0).to(v.dtype) - (v < 0).to(v.dtype),  # no derivative
    "softplus": _softplus,
    "logsigmoid": lambda v: -_softplus(-v),
    "silu": lambda v: v * torch.sigmoid(v),
    "gelu": _gelu,
    "elu": lambda v: torch.where(v > 0, v, torch.expm1(v.clamp(max=0))),
    "sin": torch.sin,
    "cos": torch.cos,
    "floor": lambda v: torch.floor(v.detach()),
    "heaviside": lambda v: (v > 0).to(v.dtype),
    "re": lambda v: v.real,
    "im": lambda v: v.imag if v.is_complex() else torch.zeros_like(v),
    "conj": torch.conj,
    "max": torch.maximum,
    "min": torch.minimum,
    "logaddexp": _logaddexp,
    "mod": lambda a, b: a - b * torch.floor(a / b).detach(),
    "rsqrt": lambda v: 1 / torch.sqrt(v),
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "erf": torch.erf,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "atan": torch.atan,
    "round": lambda v: torch.round(v.detach()),
    "angle": torch.angle,
    "clamp": torch.clamp,
    "gelu_exact": lambda v: v / 2 * torch.erfc(-v / math.sqrt(2)),
    "mish": lambda v: v * torch.tanh(_softplus(v)),
    "selu": torch.selu,
    "hardtanh": torch.nn.functional.hardtanh,
    "hardsigmoid": lambda v: torch.clamp(v / 6 + 0.5, 0, 1),
    "leaky_relu": lambda v, slope: torch.where(v > 0, v, slope * v),
    "stop_gradient": torch.detach,
    "where": _where,
}

ALONG: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": _softmax,
    "cumsum": lambda v: torch.cumsum(v, -1),
    "normalize": lambda v: v / torch.sqrt((v * v).sum(-1, keepdim=True) + 1e-12),
    "layernorm": _layernorm,
    "rmsnorm": lambda v: v / torch.sqrt((v * v).mean(-1, keepdim=True) + 1e-5),
}

REDUCING: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda v: v.sum(-1),
    "mean": lambda v: v.mean(-1),
    "norm": lambda v: torch.linalg.vector_norm(v, dim=-1),
}
