"""A step as changes of its states behind one another: what comes before a `repeat` of any number of rounds, each round, and what comes after."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rnndsl.checks.cell import Expr, Let, Ref, Repeat, Update, always_runs, walk
from rnndsl.kernel.limits import Unsupported
from rnndsl.plan.gemm import substitute
from rnndsl.plan.ir import Operation, Plan, expressions_of, names_of
from rnndsl.plan.recurrence import Recurrence


@dataclass(frozen=True)
class Change:
    """A recurrence whose step is one change of the states; repeat: of which it is a round."""

    recurrence: Recurrence
    repeat: Repeat | None = None


def changes(plan: Plan, recurrence: Recurrence) -> list[Change]:
    """The changes of a step, one where it has no `repeat` of as many rounds as a size says. Raises Unsupported."""
    body = recurrence.scan.body
    place = next((i for i, o in enumerate(body) if isinstance(o, Repeat) and (o.low.number is None or o.high.number is None)), None)
    if place is None:
        return [Change(recurrence)]
    repeat = body[place]
    assert isinstance(repeat, Repeat)
    (state, *more), what = recurrence.scan.states, f"`repeat {repeat.counter}`"
    t = plan.variable(state).type
    if more or len(repeat.passed) != 1 or repeat.passed[0].start.type != t:
        raise Unsupported(f"the rounds of {what} hand on something else than one matrix state")
    if not always_runs(repeat.low, repeat.high):
        raise Unsupported(f"{what} may have no rounds")
    (passed,) = repeat.passed
    old = Ref(state, "state", t, lag=1)
    before, behind = body[:place], body[place + 1 :]
    moved = _moved(before, state)
    fixed = [o for o in before if not moved.intersection(names_of(o))]

    def change(operations: Sequence[Operation], begins: str, within: Repeat | None) -> Change:
        """One that begins with a local. Raises Unsupported where it reads anything else of before it that states reach."""
        known: dict[Expr, Ref] = {Ref(begins, "local", t): old}
        own = {n for o in operations for n in names_of(o)}
        for n in _read(operations):
            early = (n.role == "state" and n.name == state and n.lag) or (n.role == "local" and n.name in inner | moved and n.name != begins)
            if early and n.name not in own:
                raise Unsupported(f"what comes in {what} or after it reads more of before than the state that it is handed")
        replaced = [replace(o, value=substitute(o.value, known)) for o in operations if isinstance(o, Let | Update)]
        return Change(replace(recurrence, scan=replace(recurrence.scan, body=(*fixed, *replaced))), within)

    made, inner = [], set[str]()
    start = {o.name: o.value for o in before if isinstance(o, Let)}.get(passed.start.name, passed.start)
    if start != old:
        first = (*before, Update(state, passed.start, span=repeat.span))
        made.append(Change(replace(recurrence, scan=replace(recurrence.scan, body=first))))
    made.append(change([*repeat.body, Update(state, Ref(passed.last, "local", t), span=repeat.span)], passed.name, repeat))
    if any(isinstance(o, Repeat) for o in behind):
        raise Unsupported("a step has two `repeat`s of as many rounds as sizes say")
    if [o.value for o in behind if isinstance(o, Update)] != [Ref(passed.last, "local", t)]:
        inner = {let.name for let in repeat.body}
        made.append(change(behind, passed.last, None))
    return made


def _moved(operations: Iterable[Operation], state: str) -> set[str]:
    """The locals that a state reaches."""
    found: set[str] = set()
    for o in operations:
        if any((n.role == "state" and n.name == state) or n.name in found for n in _read([o])):
            found.update(names_of(o))
    return found


def _read(operations: Iterable[Operation]) -> list[Ref]:
    return [n for o in operations for e in expressions_of(o) for n in walk(e) if isinstance(n, Ref)]
