"""Loops inside a step: the rounds of a `repeat`, forwards, and backwards over what the rounds forwards began with."""

from rnndsl.checks.cell import always_runs
from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.entries import Rows, in_unit, of_value, write_copy
from rnndsl.emit.cpp.scope import Scope
from rnndsl.kernel.graph import SCALARS, Loop


def take_memory(f: Scope, depth: int) -> None:
    """Memory for what the rounds of all loops begin with and hand on."""
    for n in f.loops:
        node = f.nodes[n]
        loop = node.loop
        leaves = [*loop.rounds, *(node.back.gradients if node.op == "loop_back" else ())]
        for leaf in leaves:
            if ("taken", leaf) in f.taken:
                continue
            f.taken.add(("taken", leaf))
            size = f"ROWS * {_size(f, leaf)}"
            f.put(f"T *{f.memory_of(leaf)} = memory.take<T>({size}), *{next_name(f, leaf)} = memory.take<T>({size});", depth)
        if node.op == "loop_back":
            for r in loop.rounds:
                f.put(f"T* {_tape(f, r)} = memory.take<T>(({round_count(f, loop)}) * ROWS * {_size(f, r)});", depth)


def next_name(f: Scope, leaf: int) -> str:
    """The memory of what a round hands on."""
    return f.names.of(f.name_of(leaf), "next")


def write_loop(f: Scope, n: int, depth: int) -> None:
    """Appends the rounds of a loop forwards."""
    loop = f.nodes[n].loop
    _begin(f, f.nodes[n].args, loop.rounds, depth)
    _open(f, loop, depth)
    for group in f.loops[n].forward.groups:
        f.write_group(group, depth + 1)
    _hand_on(f, loop.rounds, depth + 1)
    f.put("}", depth)
    for r, j in _results(f, n, "rounds"):
        _copy_all(f, loop.rounds[j], f.memory_of(loop.rounds[j]), f.memory_of(r), depth)


def write_loop_back(f: Scope, n: int, depth: int) -> None:
    """Appends the rounds of a loop backwards; what each began with is kept while they run forwards."""
    node = f.nodes[n]
    back = node.back
    loop, count = back.loop, len(back.gradients)
    rounds = f.loops[n]
    _begin(f, node.args[:count], loop.rounds, depth)
    _open(f, loop, depth)
    for r in loop.rounds:
        _copy_all(f, r, f.memory_of(r), f"{_tape(f, r)} + {round_number(f, loop)} * ROWS * {_size(f, r)}", depth + 1)
    for group in rounds.forward.groups:
        f.write_group(group, depth + 1)
    _hand_on(f, loop.rounds, depth + 1)
    f.put("}", depth)
    _begin(f, node.args[count : 2 * count], back.gradients, depth)
    for r, _ in _results(f, n, "totals"):
        f.put(f"zero({f.memory_of(r)}, ROWS * {_size(f, r)});", depth)
    counter = f.names(("counter", loop.counter), loop.counter)
    f.put(f"for (long {counter} = {f.dim(loop.high)}; {counter} >= {f.dim(loop.low)}; --{counter}) {{", depth)
    for r in loop.rounds:
        _copy_all(f, r, f"{_tape(f, r)} + {round_number(f, loop)} * ROWS * {_size(f, r)}", f.memory_of(r), depth + 1)
    assert rounds.backward is not None
    for group in rounds.backward.groups:
        f.write_group(group, depth + 1)
    _hand_on(f, back.gradients, depth + 1)
    f.put("}", depth)
    for r, j in _results(f, n, "gradients"):
        _copy_all(f, back.gradients[j], f.memory_of(back.gradients[j]), f.memory_of(r), depth)


def _size(f: Scope, n: int) -> str:
    return cpp_text.bracketed(f.volume(f.shape_domain(n)))


def _tape(f: Scope, leaf: int) -> str:
    return f.names.of(f.name_of(leaf), "rounds")


def round_count(f: Scope, loop: Loop) -> str:
    """How many rounds there are."""
    count = f"{f.dim(loop.high)} - {cpp_text.bracketed(f.dim(loop.low))} + 1"
    return count if always_runs(loop.low, loop.high) else f"({count} > 0 ? {count} : 0)"


def round_number(f: Scope, loop: Loop) -> str:
    """The number of the round, from 0."""
    return f"({f.names(('counter', loop.counter), loop.counter)} - {cpp_text.bracketed(f.dim(loop.low))})"


def _open(f: Scope, loop: Loop, depth: int) -> None:
    counter = f.names(("counter", loop.counter), loop.counter)
    f.put(f"for (long {counter} = {f.dim(loop.low)}; {counter} <= {f.dim(loop.high)}; ++{counter}) {{", depth)


def _results(f: Scope, n: int, kind: str) -> list[tuple[int, int]]:
    """The nodes that hold what a loop leaves behind, and their numbers."""
    return [(r, f.nodes[r].result.index) for r in sorted(f.kept) if f.nodes[r].op == "result" and f.nodes[r].args == (n,) and f.nodes[r].result.kind == kind]


def _begin(f: Scope, starts: tuple[int, ...], leaves: tuple[int, ...], depth: int) -> None:
    """What the first round begins with."""
    for start, leaf in zip(starts, leaves, strict=False):
        domain = f.shape_domain(leaf)
        scalar = f.nodes[start].op in SCALARS or start in f.uniform
        rows = Rows(f, leaf, [] if scalar else [start], depth)
        if scalar:
            f.put(f"fill({f.row_pointer(leaf)}, {f.volume(domain)}, {f.scalar(start).code});", depth + 1)
        else:
            write_copy(f, domain, of_value(f, start, domain), in_unit(f, domain, f.row_pointer(leaf)), depth + 1)
        rows.close()


def _hand_on(f: Scope, leaves: tuple[int, ...], depth: int) -> None:
    for leaf in leaves:
        _copy_all(f, leaf, next_name(f, leaf), f.memory_of(leaf), depth)


def _copy_all(f: Scope, n: int, source: str, target: str, depth: int) -> None:
    f.put(f"copy({source}, {target}, rows * {_size(f, n)});", depth)
