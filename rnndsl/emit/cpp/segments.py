"""States that lie in memory of a unit, which is in a cache, where nothing but the step and what follows it reads them: the call forwards keeps those of
every SEGMENT-th step, and the call backwards makes the states of a segment again before it goes back through it."""

from dataclasses import replace

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.entries import in_array, in_unit, write_copy
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.text import plus, product
from rnndsl.kernel.build import Sweep
from rnndsl.kernel.channel_kernel import SPECIAL
from rnndsl.kernel.loops import reachable
from rnndsl.kernel.program import Program

_LEAST_AXES = 2  # of the states of a unit, were heads divided: a vector is written and read faster than it is made again
_LONG = frozenset(("product", "loop", "loop_back"))


def states_of(sweep: Sweep) -> Program | None:
    """What makes new states of old ones, without what follows them, where states may lie so: matrices, of the step before alone, whose entries take a few
    sums and products. None elsewhere."""
    step, heads = sweep.step, len(sweep.split.heads)
    program = replace(sweep.forward, sinks=tuple(s for s in sweep.forward.sinks if s.target.kind == "sequence"))

    def takes_long(n: int) -> bool:
        """Whether it takes longer than a state takes to be written and read."""
        node = program.nodes[n]
        return node.op in _LONG or (len(node.shape) >= heads + _LEAST_AXES and node.op in SPECIAL)

    is_matrix = any(len(array.shape) >= heads + _LEAST_AXES for array, _ in step.carries)
    is_made = is_matrix and all(lag == 1 for _, lag in step.carries) and not any(map(takes_long, _used(program)))
    return program if is_made and not any(p.nodes[n].op in _LONG for p in (sweep.forward, sweep.backward) for n in _used(p)) else None


def _used(program: Program) -> set[int]:
    return reachable(program.nodes, [s.node for s in program.sinks])


def segment(f: Scope) -> str:
    """How many steps have a segment, by the entries of the states of a head."""
    entries = [product(f.dim(d) for d, marker in f.state_domain(i) if not isinstance(marker, tuple)) for i in range(len(f.step.carries))]
    return f"segment_of<T>({plus(*entries)})"


def new_name(f: Scope, i: int) -> str:
    """The new state of a step, which lies in memory of the unit."""
    return f.names(("new", i), f"{f.step.carries[i][0].label}_new")


def write_forwards(f: Scope, depth: int) -> None:
    """All steps, from one state to the next."""
    carries = range(len(f.step.carries))
    for i in carries:
        memory = f"memory.take<T>(ROWS * {_size(f, i)})"
        f.put(f"T *{_old(f, i)} = {memory}, *{new_name(f, i)} = {memory};", depth)
        _load(f, i, _first(f, i), _old(f, i), depth)
    f.put("for (long t = 0; t < call.steps; ++t) {", depth)
    _restart(f, depth + 1)
    f.write_step(depth + 1)
    f.put("if ((t + 1) % call.every == 0) {", depth + 1)
    for i in carries:
        kept = f.names(("sequence", i))
        _store(f, i, new_name(f, i), f"{kept}.at<T>(b + r, t / call.every)", depth + 2, f"{kept}.time * AHEAD")
    f.put("}", depth + 1)
    for i in carries:
        f.put(f"std::swap({_old(f, i)}, {new_name(f, i)});", depth + 1)
    f.put("}", depth)
    for i in carries:
        _store(f, i, _old(f, i), f"{f.names(('final', i))}.at<T>(b + r, 0)", depth)


def write_backwards(f: Scope, again: Scope, depth: int) -> None:
    """All steps back, a segment after the other; `again` is the step forwards."""
    for i in range(len(f.step.carries)):
        f.put(f"T* {_begun(f, i)} = memory.take<T>(SEGMENT * ROWS * {_size(f, i)});", depth)
    f.put("for (long from, end = call.steps; end > 0; end = from) {", depth)
    f.put("from = (end - 1) / SEGMENT * SEGMENT;", depth + 1)
    _write_again(f, again, depth + 1)
    f.put("for (long t = end - 1; t >= from; --t) {", depth + 1)
    _write_place(f, depth + 2)
    f.write_step(depth + 2)
    f.put("}", depth + 1)
    f.put("}", depth)


def _write_again(f: Scope, again: Scope, depth: int) -> None:
    """What the steps of a segment begin with."""
    for i in range(len(f.step.carries)):
        kept = f"{f.names(('sequence', i))}.at<const T>(b + r, from / SEGMENT - 1)"
        _load(f, i, f"(from ? {kept} : {_first(f, i)})", _begun(f, i), depth)
    f.put("for (long t = from;; ++t) {", depth)
    _write_place(f, depth + 1)
    _restart(f, depth + 1)
    f.put("if (t + 1 == end) break;", depth + 1)
    for i in range(len(f.step.carries)):
        f.put(f"T* {new_name(f, i)} = {_old(f, i)} + ROWS * {_size(f, i)};", depth + 1)
    again.write_step(depth + 1)
    f.lines += again.lines
    f.put("}", depth)


def _write_place(f: Scope, depth: int) -> None:
    """Where a step of the segment finds what it begins with."""
    for i in range(len(f.step.carries)):
        f.put(f"T* {_old(f, i)} = {_begun(f, i)} + (t - from) * ROWS * {_size(f, i)};", depth)


def _size(f: Scope, i: int) -> str:
    return cpp_text.bracketed(f.volume(f.state_domain(i)))


def _old(f: Scope, i: int) -> str:
    """What a step begins with."""
    return f.names(("old", i), f"{f.step.carries[i][0].label}_1")


def _begun(f: Scope, i: int) -> str:
    return f.names(("begun", i), f"{f.step.carries[i][0].label}_begun")


def _first(f: Scope, i: int) -> str:
    return f"{f.names(('firsts', i))}[0].at<const T>(b + r, 0)"


def _load(f: Scope, i: int, array: str, memory: str, depth: int) -> None:
    """Copies a state from where an array has it to memory of the unit."""
    domain = f.state_domain(i)
    f.put("for (long r = 0; r < rows; ++r)", depth)
    write_copy(f, domain, in_array(f, domain, array), in_unit(f, domain, f"{memory} + r * {_size(f, i)}"), depth + 1)


def _store(f: Scope, i: int, memory: str, array: str, depth: int, ahead: str | None = None) -> None:
    """Copies a state from memory of the unit to where an array has it."""
    domain = f.state_domain(i)
    f.put("for (long r = 0; r < rows; ++r)", depth)
    write_copy(f, domain, in_unit(f, domain, f"{memory} + r * {_size(f, i)}"), in_array(f, domain, array), depth + 1, ahead)


def _restart(f: Scope, depth: int) -> None:
    """Where a step is reset, it begins with the initial state."""
    f.put("for (long r = 0; call.reset.data && r < rows; ++r)", depth)
    f.put("if (call.resets(b + r, t)) {", depth + 1)
    for i, (array, lag) in enumerate(f.step.carries):
        domain = f.state_domain(i)
        given = in_array(f, domain, f"{f.names(('initial', i), f'{array.label}_{lag}_initial')}.at<const T>(0, 0)")
        write_copy(f, domain, given, in_unit(f, domain, f"{_old(f, i)} + r * {_size(f, i)}"), depth + 2)
    f.put("}", depth + 1)
