"""Cell -> Plan: orders the components, hoists what does not depend on their states, merges matrix products."""

from collections.abc import Iterable
from dataclasses import replace

from rnndsl.checks.cell import SCALAR, Apply, Cell, Expr, Let, Ref, Repeat, Statement, Update, walk
from rnndsl.plan.dependence import STATIC, Dependence, analyse, strongly_connected
from rnndsl.plan.gemm import merge_products
from rnndsl.plan.hoist import Hoister, fresh, spreads
from rnndsl.plan.ir import Carry, Map, Operation, Plan, Scan, Stage, expressions_of, inner_names, names_of
from rnndsl.plan.recurrence import reads_state
from rnndsl.plan.single import own_name, single_assignment


def make_plan(cell: Cell) -> Plan:
    """The plan of a cell: constants once a call; for each component, what its equations need, then the scan; outputs."""
    cell = single_assignment(cell)
    dependence = analyse(cell)
    taken = {v.name for v in cell.variables} | set(dependence.levels)
    constants = [s for s in cell.body if _level(s, dependence) == STATIC and isinstance(s, Let | Repeat)]
    stages: list[Stage] = []
    wanted = _wanted_for_all_steps(cell, dependence)

    def all_steps(level: int) -> list[Operation]:
        """Locals of one level that something after their component reads."""
        return [
            s
            for s in cell.body
            if not isinstance(s, Update) and _level(s, dependence) == level and wanted.intersection(names_of(s))
        ]

    pending: list[Operation] = all_steps(-1)
    for place, states in enumerate(dependence.components):
        own = _own_statements(cell, dependence, place)
        if not dependence.recurrent[place]:
            pending.extend(s for s in own if isinstance(s, Update))  # what it reads is pending already
            pending.extend(all_steps(place))
            continue
        hoister = Hoister(dependence, place, taken)
        pending = _parted(pending, hoister)
        body: list[Operation] = [hoister.statement(s) for s in own]
        constants.extend(hoister.constants)
        pending.extend(hoister.streams)
        stages.extend(_map(pending, dependence, taken, constants))
        body, stacked = merge_products(body, dependence, taken)
        constants.extend(stacked)
        stages.append(Scan(states, tuple(body), _streams(body, states, dependence)))
        pending = _read_apart(all_steps(place), dependence, taken)
    # products in the outputs are merged with those of the last stage
    returned = []
    for o in cell.outputs:
        value = o.value
        if not isinstance(value, Ref):
            name = f"{o.name}.out"
            dependence.levels[name] = dependence.level(value)
            pending.extend(_read_apart([Let(name, value, span=o.span)], dependence, taken))
            value = Ref(name, "local", value.type, span=value.span)
        returned.append((o.name, value, o.span))
    stages.extend(_map(pending, dependence, taken, constants))
    static = frozenset(n for n, level in dependence.levels.items() if level == STATIC)
    return Plan(cell, tuple(_ordered(constants)), tuple(stages), tuple(returned), _carries(cell), static)  # type: ignore[arg-type]


def _map(pending: list[Operation], dependence: Dependence, taken: set[str], constants: list) -> list[Map]:
    if not pending:
        return []
    body, stacked = merge_products(pending, dependence, taken)
    constants.extend(stacked)
    return [Map(tuple(body))]


def _parted(pending: list[Operation], hoister: Hoister) -> list[Operation]:
    """Locals before a scan, those that are outer products entry by entry made of vectors that have names, so that the scan may be given these."""
    found: list[Operation] = []
    for o in pending:
        if isinstance(o, Let) and spreads(o.value):
            before = len(hoister.streams)
            o = hoister.statement(o)
            found.extend(hoister.streams[before:])
            del hoister.streams[before:]
        found.append(o)
    return found


def _read_apart(pending: list[Operation], dependence: Dependence, taken: set[str]) -> list[Operation]:
    """Operations after scans, where a product of a vector and a matrix state, `q @ S[t]`, is a local of its own."""
    found: list[Operation] = []

    def apart(expr: Expr, let: Let) -> Expr:
        if not isinstance(expr, Apply):
            return expr
        if expr is not let.value and reads_state(expr):
            name = fresh(f"{own_name(let.name).removesuffix('.out')}.read", taken)
            dependence.levels[name] = dependence.level(expr)
            found.append(Let(name, expr, span=let.span))
            return Ref(name, "local", expr.type, span=expr.span)
        return replace(expr, args=tuple(apart(a, let) for a in expr.args))

    for o in pending:
        found.append(replace(o, value=apart(o.value, o)) if isinstance(o, Let) else o)
    return found


def _ordered(constants: list[Let]) -> list[Let]:
    """Each constant after those that it reads."""
    binds = {name: str(i) for i, c in enumerate(constants) for name in names_of(c)}
    needs = {str(i): [binds[r] for r in _reads(c) if r in binds] for i, c in enumerate(constants)}
    return [constants[int(i)] for component in strongly_connected(needs) for i in component]


def _level(s: Statement, dependence: Dependence) -> int:
    if isinstance(s, Update):
        return dependence.place[s.state]
    return max(dependence.levels[n] for n in names_of(s))


def _reads(s: Operation) -> set[str]:
    """The locals that an operation reads and does not bind itself."""
    found = {n.name for e in expressions_of(s) for n in walk(e) if isinstance(n, Ref) and n.role == "local"}
    return found - inner_names(s) if isinstance(s, Repeat) else found


def _own_statements(cell: Cell, dependence: Dependence, place: int) -> list[Statement]:
    """The updates of a component and the locals of its own level that they need, in the order of the text."""
    needed: set[str] = set()
    own: list[Statement] = []
    for s in reversed(cell.body):
        if isinstance(s, Update):
            keep = dependence.place[s.state] == place
        else:
            keep = bool(needed.intersection(names_of(s))) and _level(s, dependence) == place
        if keep:
            own.append(s)
            needed |= _reads(s)
    return own[::-1]


def _wanted_for_all_steps(cell: Cell, dependence: Dependence) -> set[str]:
    """Locals that are read by an output or by anything of a later component."""
    wanted = {n.name for o in cell.outputs for n in walk(o.value) if isinstance(n, Ref) and n.role == "local"}
    for s in reversed(cell.body):
        level = _level(s, dependence)
        in_map = not isinstance(s, Update) and bool(wanted.intersection(names_of(s)))
        for name in _reads(s):
            is_read = in_map or dependence.levels[name] < level
            if is_read or (dependence.recurrent and not dependence.recurrent[max(level, 0)]):  # a cell without states has no components
                wanted.add(name)
    return wanted


def _streams(body: Iterable[Operation], states: tuple[str, ...], dependence: Dependence) -> tuple[Ref, ...]:
    """What a scan reads of every step that is not its own: inputs, hoisted streams, states of earlier components."""
    body = list(body)
    bound = {n for s in body for n in (inner_names(s) if isinstance(s, Repeat) else names_of(s))}
    found: dict[Ref, Ref] = {}
    for s in body:
        for e in expressions_of(s):
            for n in walk(e):
                if (
                    isinstance(n, Ref)
                    and n.name not in states
                    and n.name not in bound
                    and dependence.level_of(n) != STATIC
                ):
                    found.setdefault(n, n)
    return tuple(found)


def _carries(cell: Cell) -> tuple[Carry, ...]:
    """The fields of the state tuple: the states as declared, then what lags and the step number need."""
    fields: list[Carry] = [Carry(v.name, v.name, "state", 1, v.type) for v in cell.of_role("state")]
    taken = {c.field for c in fields}

    def add(name: str, source: str, role: str, lag: int, t) -> None:
        while name in taken:
            name += "_"
        taken.add(name)
        fields.append(Carry(name, source, role, lag, t))

    state_lags, input_lags = cell.lags("state"), cell.lags("input")
    for v in cell.of_role("state"):
        for lag in range(2, state_lags.get(v.name, 0) + 1):
            add(f"{v.name}_{lag}", v.name, "state", lag, v.type)
    for v in cell.of_role("input"):
        for lag in range(1, input_lags.get(v.name, 0) + 1):
            add(f"{v.name}_{lag}", v.name, "input", lag, v.type)
    if cell.uses_clock:
        add("t", "t", "clock", 0, SCALAR)
    return tuple(fields)
