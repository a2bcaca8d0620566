"""What a legal plan is, as a list of named rules; `verify` holds a plan against each. A failure is a fault of the compiler."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator

from rnndsl.checks.cell import MOVING, Apply, Expr, Let, Ref, Repeat, Type, Update, walk
from rnndsl.checks.dims import Dim
from rnndsl.law import Law, Rule
from rnndsl.plan.ir import Gemm, Map, Operation, Plan, Scan, expressions_of, names_of
from rnndsl.plan.recurrence import product_name, recurrences


class IllegalPlan(AssertionError):
    """A plan that breaks a rule."""

    def __init__(self, plan: Plan, rule: Rule, problem: str):
        self.rule = rule.name
        super().__init__(
            f"internal error: the plan of cell {plan.cell.name} breaks the rule `{rule.name}` ({rule.description}): {problem}"
        )


RULES = Law()
rule = RULES.rule


def verify(plan: Plan) -> Plan:
    """The plan itself; raises IllegalPlan, naming the first rule that it breaks."""
    for broken, problem in RULES.breaches(plan):
        raise IllegalPlan(plan, broken, problem)
    return plan


# What operations read and bind


def refs(expr: Expr, role: str | None = None) -> Iterator[Ref]:
    """The names in an expression, of one role if it is given."""
    for node in walk(expr):
        if isinstance(node, Ref) and role in (None, node.role):
            yield node


def _reads(operation: Operation, role: str | None = None) -> Iterator[Ref]:
    for value in expressions_of(operation):
        yield from refs(value, role)


def _updates(plan: Plan) -> Iterator[tuple[int, Update]]:
    for place, stage in enumerate(plan.stages):
        for operation in stage.body:
            if isinstance(operation, Update):
                yield place, operation


def _every_name(body: Iterable[Operation]) -> Iterator[str]:
    """Every name that operations bind, also for the rounds of a repeat alone."""
    for operation in body:
        if isinstance(operation, Repeat):
            yield from (operation.counter, *(p.name for p in operation.passed), *(let.name for let in operation.body))
        else:
            yield from names_of(operation)


def _undefined(operation: Operation, defined: set[str]) -> Iterator[tuple[str, Ref]]:
    """What reads a local or counter that is not defined so far, and which; then `defined` has what the operation binds."""
    inside = defined
    if isinstance(operation, Repeat):
        for p in operation.passed:
            yield from ((_label(operation), ref) for ref in refs(p.start) if ref.name not in defined)
        inside = defined | {operation.counter, *(p.name for p in operation.passed)}
    for step in operation.body if isinstance(operation, Repeat) else (operation,):
        yield from ((_label(step), ref) for ref in _reads(step) if ref.role in ("local", "counter") and ref.name not in inside)
        inside.update(names_of(step))
    defined.update(names_of(operation))


# The rules


@rule("single-assignment", "every name is bound once: in the cell, in what a call computes, and in each scan")
def _single(plan: Plan) -> Iterator[str]:
    call = (*plan.constants, *(o for s in plan.stages if isinstance(s, Map) for o in s.body))
    for where, body in (("the cell", plan.cell.body), ("a call", call), *((f"the scan of {', '.join(s.states)}", s.body) for s in plan.scans)):
        names = list(_every_name(body))
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield f"`{name}` is bound {names.count(name)} times in {where}"
        for repeat in (o for o in body if isinstance(o, Repeat)):
            made = {let.name for let in repeat.body}
            for name in sorted({*repeat.results, *(p.last for p in repeat.passed)} - made):
                yield f"{_label(repeat)} leaves `{name}`, which no line of it binds"


@rule("defined-before-read", "every name is declared, or defined before it is read, in its own stage or for all steps at once before")
def _defined(plan: Plan) -> Iterator[str]:
    declared = {(v.role, v.name) for v in plan.cell.variables} | {("size", n) for n in plan.cell.sizes} | {("clock", "t")}
    declared |= {("hyper", h.name) for h in plan.cell.hypers}
    known: set[str] = set()  # locals that a call has so far
    for stage in (Map(plan.constants), *plan.stages):
        here = known if isinstance(stage, Map) else set(known)  # what a scan binds is seen in it alone
        for operation in stage.body:
            for reader, ref in _undefined(operation, here):
                yield f"`{ref.name}` is read by {reader} before it is defined"
            for ref in _reads(operation):
                if ref.role not in ("local", "counter") and (ref.role, ref.name) not in declared:
                    yield f"`{ref.name}` is read by {_label(operation)}, but no {ref.role} is called so"


@rule("constants-static", "constants depend on params alone, and no scan computes what does")
def _constants(plan: Plan) -> Iterator[str]:
    constants = set(_every_name(plan.constants))
    for c in plan.constants:
        for ref in _reads(c):
            if ref.moves(constants):
                yield f"constant {_label(c)} reads `{ref.name}`, which changes with the step"
    for name in sorted(constants - plan.static):
        yield f"constant `{name}` is not among the names that depend on params alone"
    for name in sorted({n for s in plan.scans for n in _every_name(s.body)} & plan.static):
        yield f"`{name}` depends on params alone but a scan computes it at every step"


@rule("one-update", "each state is updated exactly once, a scan's own states in that scan and no other in it")
def _one_update(plan: Plan) -> Iterator[str]:
    places: dict[str, list[int]] = {v.name: [] for v in plan.cell.of_role("state")}
    for place, update in _updates(plan):
        if update.state not in places:
            yield f"`{update.state}` is updated but is no state"
        places.setdefault(update.state, []).append(place)
    for state, found in places.items():
        if len(found) != 1:
            yield f"`{state}` is updated {len(found)} times"
    for place, stage in enumerate(plan.stages):
        if isinstance(stage, Scan):
            updated = {u.state for p, u in _updates(plan) if p == place}
            if updated != set(stage.states):
                yield f"the scan of {', '.join(stage.states)} updates {', '.join(sorted(updated)) or 'nothing'}"


@rule("update-types", "an update has its state's type, or one that broadcasts to it")
def _update_types(plan: Plan) -> Iterator[str]:
    for _, update in _updates(plan):
        state, value = plan.variable(update.state).type, update.value.type
        if not _fits(value, state):
            yield f"`{update.state}` is {state}, but its update is {value}"


def _fits(value: Type, target: Type) -> bool:
    axes = value.axes in (target.axes, ())
    heads = value.heads in (target.heads, ())
    return axes and heads and (target.is_complex or not value.is_complex)


@rule("scan-reads", "a scan reads its own states, its streams, what depends on params alone, and its own locals")
def _scan_reads(plan: Plan) -> Iterator[str]:
    for scan in plan.scans:
        streams = {(r.name, r.lag) for r in scan.streams}
        own = set(_every_name(scan.body))
        for operation in scan.body:
            for ref in _reads(operation):
                if ref.role in ("param", "const", "size", "hyper", "counter") or ref.name in own | plan.static:
                    continue
                if (ref.role == "state" and ref.name in scan.states) or (ref.name, ref.lag) in streams:
                    continue
                yield f"{_label(operation)} in the scan of {', '.join(scan.states)} reads `{ref.name}`, which is none of its streams"


@rule("new-states", "a new state is read after its update only")
def _new_states(plan: Plan) -> Iterator[str]:
    solved: set[str] = set()
    for stage in plan.stages:
        for operation in stage.body:
            for ref in _reads(operation, "state"):
                if ref.lag == 0 and ref.name not in solved:
                    yield f"{_label(operation)} reads `{ref.name}[t]` before its update"
            if isinstance(operation, Update):
                solved.add(operation.state)


@rule("streams-earlier", "every stream of a scan is an input or noise, or is computed by an earlier stage")
def _streams(plan: Plan) -> Iterator[str]:
    ready: set[str] = set()
    for stage in plan.stages:
        if isinstance(stage, Scan):
            for ref in stage.streams:
                if ref.role in ("state", "local") and ref.name not in ready:
                    yield f"the scan of {', '.join(stage.states)} has the stream `{ref.name}`, which no earlier stage computes"
                if ref.role not in ("state", "local", "input", "noise", "clock"):
                    yield f"the scan of {', '.join(stage.states)} has the stream `{ref.name}`, which is a {ref.role}"
        for operation in stage.body:
            if isinstance(stage, Map):
                ready.update(names_of(operation))
            if isinstance(operation, Update):
                ready.add(operation.state)


@rule("map-reads", "what is computed for all steps at once reads solved states only")
def _map_reads(plan: Plan) -> Iterator[str]:
    solved: set[str] = set()
    for stage in plan.stages:
        for operation in stage.body:
            if isinstance(stage, Map):
                for ref in _reads(operation, "state"):
                    if ref.name not in solved:
                        yield f"{_label(operation)} reads `{ref.name}`, which is not solved yet"
            if isinstance(operation, Update):
                solved.add(operation.state)


@rule("gemm-rows", "a merged product has one result a product, and its matrix their rows")
def _gemm_rows(plan: Plan) -> Iterator[str]:
    stacked = {c.name: c.value for c in plan.constants if not isinstance(c, Repeat)}
    for operation in (o for s in plan.stages for o in s.body):
        if not isinstance(operation, Gemm):
            continue
        if len(operation.results) != len(operation.products):
            yield f"{_label(operation)} has {len(operation.results)} results for {len(operation.products)} products"
        rows = Dim.of(0)
        for r in operation.rows:
            rows = rows + r
        t = operation.matrix.type
        if t.rank != 2 or t.axes[0] != rows:
            yield f"`{operation.matrix.name}` is {t}, but its products have {rows} rows in all"
        elif t.axes[1:] != operation.operand.type.axes:
            yield f"`{operation.matrix.name}` is {t}, but its operand is {operation.operand.type}"
        value = stacked.get(operation.matrix.name)
        if (
            not isinstance(value, Apply)
            or value.op != "rows"
            or value.args != tuple(p.args[0] for p in operation.products)
        ):
            yield f"`{operation.matrix.name}` does not stack the matrices of its products in their order"


@rule("kernels-defined", "a kernel reads what is defined before its call, and nothing that a kernel computes is computed elsewhere")
def _kernels(plan: Plan) -> Iterator[str]:
    kernels = {r.scan: r for r in recurrences(plan)}
    inside = [let.name for r in kernels.values() for let in (*r.entry, *(r.exit.body if r.exit else ()))]
    for name in sorted({n for n in inside if inside.count(n) > 1}):
        yield f"`{name}` is computed by {inside.count(name)} kernels"
    whole = {g for r in kernels.values() for g in r.products}
    known = {n for c in plan.constants for n in names_of(c)}  # locals that a call has so far
    solved: set[str] = set()

    def missing(ref: Ref, more: Container[str] = ()) -> bool:
        if ref.role == "local":
            return ref.name not in known and ref.name not in more
        return ref.role == "state" and ref.name not in solved

    for stage in plan.stages:
        if isinstance(stage, Map):
            for o in stage.body:
                if isinstance(o, Let) and o.name in inside:
                    continue
                for _, ref in _undefined(o, set(known)):
                    yield f"{_label(o)} reads `{ref.name}`, which is computed in a kernel alone"
                known.update((product_name(o),) if o in whole else names_of(o))
                solved.update((o.state,) if isinstance(o, Update) else ())
            continue
        r = kernels[stage]
        label = f"the kernel of {', '.join(stage.states)}"
        for let in r.exit.ahead if r.exit else ():
            yield from (f"{label} has `{let.name}` made ahead of `{ref.name}`" for ref in refs(let.value) if missing(ref))
            known.add(let.name)
        given = (*r.streams, *r.statics, *((*r.exit.streams, *r.exit.statics) if r.exit else ()))
        for ref in given:
            if missing(ref):
                yield f"{label} is given `{ref.name}`, which nothing before it computes"
        yield from (f"{label} is given the product of {_label(g)}, which nothing before it computes" for g in r.products if product_name(g) not in known)
        own = {ref.name for ref in given if ref.role == "local"} | {n for g in r.products for n in g.results}
        for o in (*r.entry, *r.scan.body, *(r.exit.body if r.exit else ())):
            for reader, ref in _undefined(o, own):
                yield f"{label} reads `{ref.name}` in {reader}, and is not given it"
            for ref in _reads(o):
                there = any((ref.role, ref.name, ref.lag) == (g.role, g.name, g.lag) for g in given)
                if ref.role in MOVING and not (there or (ref.role == "state" and ref.name in stage.states)):
                    yield f"{label} reads `{ref.name}` in {_label(o)}, and is not given it"
        known.update(ref.name for ref in (r.exit.returned if r.exit else ()))
        solved.update(stage.states)
    for name, value, _ in plan.outputs:
        yield from (f"output `{name}` reads `{ref.name}`, which is computed in a kernel alone" for ref in refs(value) if missing(ref))


@rule("outputs-defined", "every output is defined once the stages are done, and has a name of its own")
def _outputs(plan: Plan) -> Iterator[str]:
    body = (*plan.constants, *(o for s in plan.stages if isinstance(s, Map) for o in s.body))
    defined = {n for o in body for n in names_of(o)}
    states = {u.state for _, u in _updates(plan)}
    names = [name for name, _, _ in plan.outputs]
    if tuple(names) != tuple(o.name for o in plan.cell.outputs):
        yield f"the outputs are {', '.join(names)}, but the cell returns {', '.join(o.name for o in plan.cell.outputs)}"
    for name, value, _ in plan.outputs:
        for ref in refs(value):
            if (ref.role == "local" and ref.name not in defined) or (ref.role == "state" and ref.name not in states):
                yield f"output `{name}` reads `{ref.name}`, which nothing defines"


@rule("carries-cover", "the state tuple carries every state, and whatever a lag or the step number needs")
def _carries(plan: Plan) -> Iterator[str]:
    fields = Counter(c.field for c in plan.carries)
    for name in sorted(f for f, count in fields.items() if count > 1):
        yield f"two fields are called `{name}`"
    have = {(c.role, c.source, c.lag) for c in plan.carries}
    needed: set[tuple[str, str, int]] = {("state", v.name, 1) for v in plan.cell.of_role("state")}
    expressions = [e for s in plan.stages for o in s.body for e in expressions_of(o)] + [value for _, value, _ in plan.outputs]
    for expr in expressions:
        for ref in refs(expr):
            if ref.role in ("state", "input"):
                needed.update((ref.role, ref.name, lag) for lag in range(1, ref.lag + 1))
            elif ref.role == "clock":
                needed.add(("clock", "t", 0))
    for role, name, lag in sorted(needed - have):
        yield f"nothing carries {'the step number' if role == 'clock' else f'`{name}[t-{lag}]`'}"


def _label(operation: Operation) -> str:
    match operation:
        case Update():
            return f"the update of `{operation.state}`"
        case Repeat():
            return f"the repeat over `{operation.counter}`"
        case Gemm():
            return f"the product for {', '.join(f'`{r}`' for r in operation.results)}"
    return f"`{operation.name}`"
