"""What one kernel computes: a scan, and before it, in the same loop, what is cheaper to compute again than to read from memory.

A local that a scan reads of every step is a pass over memory to write and another to read. Where it is made elementwise of
streams that are no larger, a kernel takes those and makes it on the way.
"""

from dataclasses import dataclass, replace

from rnndsl.checks.cell import GIVEN, Apply, Expr, Let, Number, Ref, Type, Update, walk
from rnndsl.functions import ENTRIES
from rnndsl.plan.dependence import strongly_connected
from rnndsl.plan.hoist import of_params, scales, spreads
from rnndsl.plan.ir import Gemm, Map, Operation, Plan, Scan, expressions_of, names_of

_TYPICAL = 64  # the value of a size where two formulas are compared
_HEADS = 8
_RETURNED = 4  # values that an exit gives: each is a stream more to write, and its gradient one to read
_FUSED = ENTRIES.keys() | {"outer", "surrogate", "broadcast", "split", "transpose"}


@dataclass(frozen=True)
class Exit:
    """What follows a scan entry by entry, or reads its matrix states by vectors: `body` is computed of the states before and after each step and of
    streams; of it `returned` is read elsewhere. `ahead` is made for it of all steps at once; `streams` and `statics` are what it reads that its
    scan does not. whole: whether anything else reads the states."""

    ahead: tuple[Let, ...]
    body: tuple[Let, ...]
    returned: tuple[Ref, ...]
    streams: tuple[Ref, ...]
    statics: tuple[Ref, ...]
    whole: bool = True


@dataclass(frozen=True)
class Recurrence:
    """A scan as a kernel computes it.

    `entry` makes the scan's streams from `streams`, step by step; a product of `products` comes whole, its results are cut out of it.
    `statics` are the params, consts and constants that entry and scan read. A kernel that can also computes the `exit`.
    """

    scan: Scan
    entry: tuple[Let, ...]
    products: tuple[Gemm, ...]
    streams: tuple[Ref, ...]
    statics: tuple[Ref, ...]
    exit: Exit | None = None

    @property
    def own(self) -> tuple[int, int]:
        """How many streams, with whole products, and how many statics a kernel is given for the scan; those for the exit follow them."""
        return len(self.streams) + len(self.products), len(self.statics)

    @property
    def operations(self) -> tuple[Operation, ...]:
        return (*self.entry, *self.scan.body)

    @property
    def read(self) -> tuple[Ref, ...]:
        """What a kernel reads at each step, the results of a product one by one."""
        results = (Ref(name, "local", p.type) for g in self.products for name, p in zip(g.results, g.products, strict=True))
        return (*results, *self.streams, *(self.exit.streams if self.exit else ()))

    @property
    def made(self) -> tuple[Let, ...]:
        """What a kernel makes on the way, and no other stage."""
        return (*self.entry, *(self.exit.body if self.exit else ()))


def recurrences(plan: Plan) -> tuple[Recurrence, ...]:
    """The kernels of a plan, one a scan, in solve order; no two compute the same local."""
    entered = tuple(_recurrence(plan, scan) for scan in plan.scans)
    readers = _readers_in_run(plan, entered)
    found: list[Recurrence] = []
    made = {let.name for r in entered for let in r.entry}
    for recurrence in entered:
        followed = _with_exit(plan, recurrence, readers, made)
        found.append(followed if followed.exit else _with_reads(plan, recurrence))
        made |= {let.name for let in found[-1].exit.body} if found[-1].exit else set()
    return tuple(found)


def product_name(gemm: Gemm) -> str:
    """A name for a merged product as a whole."""
    return f"{gemm.matrix.name}product"


def product_type(gemm: Gemm) -> Type:
    """The type of a merged product as a whole."""
    heads = gemm.matrix.type.heads or gemm.operand.type.heads
    return Type(heads, gemm.matrix.type.axes[:1], gemm.matrix.type.is_complex or gemm.operand.type.is_complex)


def _recurrence(plan: Plan, scan: Scan) -> Recurrence:
    made = {o.name: o for s in plan.stages if isinstance(s, Map) for o in s.body if isinstance(o, Let)}
    readers = _readers(plan)
    entry: dict[str, Let] = {}
    streams: dict[Ref, None] = dict.fromkeys(scan.streams)
    while True:
        for ref in streams:
            let = made.get(ref.name) if ref.role == "local" else None
            if let is None or readers[let.name] - {*entry, _label(scan)} or not _elementwise(let.value):
                continue
            parts = [r for r in _streams_of(let.value, plan) if r not in streams]
            if sum(map(_size, parts)) > _size(ref):
                continue
            del streams[ref]
            streams.update(dict.fromkeys(parts))
            entry[let.name] = let
            break
        else:
            break
    read = {n.name for o in (*entry.values(), *scan.body) for e in expressions_of(o) for n in walk(e) if isinstance(n, Ref)}
    entry |= {c.name: c for c in plan.constants if isinstance(c, Let) and c.name in read and of_params(c.value) and _elementwise(c.value)}
    products = tuple(_whole_products(plan, streams, readers, {*entry, _label(scan)}))
    cut = {r for g in products for r in g.results}
    kept = tuple(r for r in streams if r.name not in cut)
    ordered = _ordered(entry)
    return Recurrence(scan, ordered, products, kept, _statics(plan, (*ordered, *scan.body)))


def _with_exit(plan: Plan, recurrence: Recurrence, readers: dict[str, set[str]], made: set[str]) -> Recurrence:
    """A recurrence with what follows it, where anything does. `made` are the locals that other kernels compute."""
    scan = recurrence.scan
    kinds = {plan.variable(s).type for s in scan.states}
    shapes = {(t.heads, t.axes) for t in kinds}
    after = plan.stages[plan.stages.index(scan) + 1 :]
    ahead: list[Let] = []
    body: dict[str, Let] = {}

    def moved(expr: Expr, name: str) -> Expr | None:
        """The expression as an exit computes it, what no state reaches made ahead; None where it cannot be one."""
        if isinstance(expr, Ref):
            mine = expr.role == "state" and expr.name in scan.states and expr.lag <= 1
            free = expr.role in ("param", "const", "size", "hyper", "input") or expr.name in plan.static or expr.name in body
            return expr if mine or free or expr in scan.streams else None
        if not isinstance(expr, Apply):
            return expr
        if not _reaches(expr, scan, body):
            if expr.op in _FUSED and all(isinstance(a, Ref | Number) for a in expr.args):
                return expr if all(moved(a, name) is not None for a in expr.args) else None
            moving = [r for r in walk(expr) if isinstance(r, Ref) and r.moves(plan.static)]
            if not all(r.role in GIVEN for r in moving):
                return None  # it reads what another stage computes
            if not moving:
                return expr if _elementwise(expr) else None
            let = Let(f"{name}.{len(ahead)}", expr, span=body_span)
            ahead.append(let)
            return Ref(let.name, "local", expr.type)
        if expr.op not in _FUSED or expr.op in ("outer", "transpose", "split"):
            return None
        args = [moved(a, name) for a in expr.args]
        return None if any(a is None for a in args) else Apply(expr.op, tuple(args), expr.type, expr.static)  # type: ignore[arg-type]

    for stage in after:
        for o in stage.body if isinstance(stage, Map) else ():
            if not isinstance(o, Let) or o.name in made or (o.value.type.heads, o.value.type.axes) not in shapes:
                continue
            if not _reaches(o.value, scan, body):
                continue
            before, body_span = len(ahead), o.span
            value = moved(o.value, o.name)
            if value is None:
                del ahead[before:]
            else:
                body[o.name] = Let(o.name, value, span=o.span)
    returned = tuple(Ref(n, "local", let.value.type) for n, let in body.items() if readers.get(n, set()) - body.keys())
    if not 0 < len(returned) <= _RETURNED:
        return recurrence
    made_ahead = {let.name for let in ahead}
    refs = dict.fromkeys(n for let in body.values() for n in walk(let.value) if isinstance(n, Ref))
    known = {*recurrence.streams, *scan.streams}
    streams = tuple(r for r in refs if r not in known and (r.role in GIVEN or r.name in made_ahead))
    statics = tuple(r for r in _statics(plan, tuple(body.values())) if r not in recurrence.statics)
    return replace(recurrence, exit=Exit(tuple(ahead), tuple(body.values()), returned, streams, statics))


def _with_reads(plan: Plan, recurrence: Recurrence) -> Recurrence:
    """A recurrence with the products of vectors and its matrix states that are all that reads these, or a part of it."""
    scan = recurrence.scan
    place = plan.stages.index(scan)
    known = {n for s in plan.stages[:place] if isinstance(s, Map) for o in s.body for n in names_of(o)} | plan.static
    known |= {s for stage in plan.stages[:place] if isinstance(stage, Scan) for s in stage.states}
    known |= {o.state for s in plan.stages[:place] if isinstance(s, Map) for o in s.body if isinstance(o, Update)}
    inside = {let.name for let in recurrence.entry} | {r for g in recurrence.products for r in g.results}
    ahead: list[Let] = []

    def before(expr: Expr) -> bool:
        refs = [n for n in walk(expr) if isinstance(n, Ref)]
        return all((r.name in known and r.name not in inside) or r.role not in ("local", "state") for r in refs)

    def moved(expr: Expr, let: Let) -> Expr | None:
        """The expression as it is computed where the states are, the vectors that it reads made ahead; None where it cannot be."""
        if not isinstance(expr, Apply) or not _reaches(expr, scan, {}):
            if isinstance(expr, Apply) and expr.op == "outer":
                args = [moved(a, let) for a in expr.args]
                return None if None in args else Apply(expr.op, tuple(args), expr.type, expr.static)  # type: ignore[arg-type]
            if isinstance(expr, Number) or (isinstance(expr, Ref) and (_reaches(expr, scan, {}) or before(expr))):
                return expr if not isinstance(expr, Ref) or expr.lag <= 1 or expr.role != "state" else None
            if not before(expr):
                return None
            name = f"{let.name}.{len(ahead)}"
            ahead.append(Let(name, expr, span=let.span))
            return Ref(name, "local", expr.type)
        if expr.op not in ("@", "dot", "+", "-", "*", "/", "neg", "broadcast", "diag"):
            return None
        args = [moved(a, let) for a in expr.args]
        return None if None in args else Apply(expr.op, tuple(args), expr.type, expr.static)  # type: ignore[arg-type]

    body: dict[str, Let] = {}
    for o in (o for s in plan.stages[place + 1 :] if isinstance(s, Map) for o in s.body):
        if isinstance(o, Let) and reads_state(o.value) and _reaches(o.value, scan, {}) and o.name not in inside:
            start = len(ahead)
            value = moved(o.value, o)
            if value is None:
                del ahead[start:]
            else:
                body[o.name] = Let(o.name, value, span=o.span)
    if not 0 < len(body) <= _RETURNED:
        return recurrence
    refs = dict.fromkeys(n for let in body.values() for n in walk(let.value) if isinstance(n, Ref))
    still = {let.name for let in ahead if not _streams_of(let.value, plan)}  # of params alone
    streams = tuple(r for r in refs if r.moves(plan.static) and r.name not in still and r.name not in scan.states and r not in recurrence.streams)
    statics = tuple(r for r in (*_statics(plan, tuple(body.values())), *(r for r in refs if r.name in still)) if r not in recurrence.statics)
    returned = tuple(Ref(n, "local", let.value.type) for n, let in body.items())
    others = [o for s in plan.stages if s is not scan for o in s.body if not (isinstance(o, Let) and o.name in body)]
    read = [e for o in others for e in expressions_of(o)] + [value for _, value, _ in plan.outputs]
    whole = any(_reaches(e, scan, {}) for e in read) or any(c.source in scan.states and c.role == "state" and c.lag > 1 for c in plan.carries)
    return replace(recurrence, exit=Exit(tuple(ahead), tuple(body.values()), returned, streams, statics, whole))


def reads_state(expr: Expr) -> bool:
    """Whether it is a product of a vector and a matrix that is made of matrix states, or one inside heads of a vector and states that have heads."""
    if not isinstance(expr, Apply) or not ((expr.op == "@" and expr.type.rank == 1) or (expr.op == "dot" and expr.type.heads)):
        return False
    rank = 2 if expr.op == "@" else 1
    reached = [any(isinstance(n, Ref) and n.role == "state" and n.type.rank == rank for n in walk(a)) for a in expr.args]
    return any(r and a.type.rank == rank for r, a in zip(reached, expr.args, strict=True)) and not all(reached)


def _reaches(expr: Expr, scan: Scan, body: dict[str, Let]) -> bool:
    """Whether a state of a scan reaches an expression, itself or through what follows it."""
    return any(isinstance(n, Ref) and ((n.role == "state" and n.name in scan.states) or n.name in body) for n in walk(expr))


def _label(scan: Scan) -> str:
    return f"scan of {scan.states}"


def _readers(plan: Plan) -> dict[str, set[str]]:
    """Who reads each local: other locals, scans, outputs."""
    found: dict[str, set[str]] = {}

    def read(expr: Expr, reader: str) -> None:
        for n in walk(expr):
            if isinstance(n, Ref) and n.role == "local":
                found.setdefault(n.name, set()).add(reader)

    for stage in plan.stages:
        for o in stage.body:
            reader = _label(stage) if isinstance(stage, Scan) else " ".join(sorted(names_of(o))) or "an update"
            for expr in expressions_of(o):
                read(expr, reader)
    for name, value, _ in plan.outputs:
        read(value, f"output {name}")
    return found


def _readers_in_run(plan: Plan, entered: tuple[Recurrence, ...]) -> dict[str, set[str]]:
    """Who reads each local once the kernels are cut: as `_readers`, but of what a kernel makes on the way only what it is given is read."""
    found = _readers(plan)
    for r in entered:
        inside = {*(let.name for let in r.entry), _label(r.scan)}
        for name in found:
            found[name] -= inside
        for ref in r.streams:
            if ref.role == "local":
                found.setdefault(ref.name, set()).add(_label(r.scan))
    return found


def _elementwise(expr: Expr) -> bool:
    return all(n.op in _FUSED or spreads(n) or scales(n) or (n.op == "heads" and isinstance(n.args[0], Ref)) for n in walk(expr) if isinstance(n, Apply))


def _streams_of(expr: Expr, plan: Plan) -> list[Ref]:
    """What an expression reads of every step, each once."""
    return list(dict.fromkeys(n for n in walk(expr) if isinstance(n, Ref) and n.moves(plan.static)))


def _size(ref: Ref) -> float:
    """Entries a step, with typical sizes in place of unknown ones."""
    size = 2.0 if ref.type.is_complex else 1.0
    for d in ref.type.heads:
        size *= float(d.evaluate(dict.fromkeys(d.names, _HEADS)))
    for d in ref.type.axes:
        size *= float(d.evaluate(dict.fromkeys(d.names, _TYPICAL)))
    return size


def _whole_products(plan: Plan, streams: dict[Ref, None], readers: dict[str, set[str]], mine: set[str]) -> list[Gemm]:
    """Merged products of which nothing but this kernel reads a part."""
    read = {r.name for r in streams if r.role == "local"}
    gemms = [o for s in plan.stages if isinstance(s, Map) for o in s.body if isinstance(o, Gemm)]
    return [g for g in gemms if set(g.results) & read and all(readers.get(r, set()) <= mine for r in g.results)]


def _ordered(entry: dict[str, Let]) -> tuple[Let, ...]:
    """Each local after those that it reads."""
    needs = {name: [n.name for n in walk(let.value) if isinstance(n, Ref) and n.name in entry] for name, let in entry.items()}
    return tuple(entry[name] for component in strongly_connected(needs) for name in component)


def _statics(plan: Plan, operations: tuple[Operation, ...]) -> tuple[Ref, ...]:
    found: dict[Ref, None] = {}
    for o in operations:
        for expr in expressions_of(o):
            for n in walk(expr):
                if isinstance(n, Ref) and (n.role in ("param", "const") or (n.role == "local" and n.name in plan.static)):
                    found.setdefault(n)
    return tuple(found)
