"""What a kernel adds up and carries backwards: gradients of old states, of initial values, of params, and of streams that units share."""

from collections.abc import Hashable

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.scope import Domain, Scope, array_name
from rnndsl.emit.cpp.text import plus, product, times
from rnndsl.kernel.program import Sink


def accumulated(f: Scope) -> list[Sink]:
    return [s for s in f.program.sinks if s.target.kind == "static_gradient"]


def sum_domain(f: Scope, sink: Sink) -> Domain:
    """What is added up for a static gradient: in the rounds of a loop, every slice of it."""
    domain = f.shape_domain(sink.node)
    if sink.target.select is None or sink.loop is None:
        return domain
    return ((f.step.statics[sink.target.index].shape[0], None), *domain)


def carry_name(f: Scope, i: int) -> str:
    array, lag = f.step.carries[i]
    return f.names(("carry_gradient", i), f"d_{array_name(array)}_{lag}_next")


def new_carry_name(f: Scope, i: int) -> str:
    array, lag = f.step.carries[i]
    return f.names(("new_carry", i), f"d_{array_name(array)}_{lag}")


def begin(f: Scope, depth: int) -> None:
    for i in range(len(f.step.carries)):
        size = cpp_text.bracketed(f.volume(f.state_domain(i)))
        f.put(f"T *{carry_name(f, i)} = memory.take<T>(ROWS * {size}), *{new_carry_name(f, i)} = memory.take<T>(ROWS * {size});", depth)
        f.put(f"T* {f.names(('initial_sum', i), 'initial_sum')} = memory.take<T>({size});", depth)
        f.put(f"zero({f.names(('initial_sum', i))}, {size});", depth)
        copy(
            f,
            f"{f.names(('final_gradient', i))}.at<const T>(b + r, 0)", f"{carry_name(f, i)} + r * {size}", f.state_domain(i), depth, into_unit=True
        )
    for k, sink in enumerate(accumulated(f)):
        size = cpp_text.bracketed(f.volume(sum_domain(f, sink)))
        f.put(f"T* {f.names(('sum', k), 'sum')} = memory.take<T>({size});", depth)
        f.put(f"zero({f.names(('sum', k))}, {size});", depth)


def end_step(f: Scope, depth: int) -> None:
    """A reset sends the gradient to the initial value, not to the step before."""
    if not f.step.carries:
        return
    f.put("for (long r = 0; call.reset.data && r < rows; ++r)", depth)
    f.put("if (call.resets(b + r, t)) {", depth + 1)
    for i in range(len(f.step.carries)):
        size = cpp_text.bracketed(f.volume(f.state_domain(i)))
        name = new_carry_name(f, i)
        f.put(f"reduce({name} + r * {size}, 1, {size}, {f.names(('initial_sum', i))});", depth + 2)
        f.put(f"zero({name} + r * {size}, {size});", depth + 2)
    f.put("}", depth + 1)
    for i in range(len(f.step.carries)):
        f.put(f"std::swap({carry_name(f, i)}, {new_carry_name(f, i)});", depth)


def end(f: Scope, depth: int) -> None:
    for i in range(len(f.step.carries)):
        domain = f.state_domain(i)
        size = cpp_text.bracketed(f.volume(domain))
        copy(f, f"{carry_name(f, i)} + r * {size}", f"{f.names(('first_gradient', i))}.at<T>(b + r, 0)", domain, depth, into_unit=False)
        full = cpp_text.bracketed(f.full_volume(f.step.carries[i][0].shape))
        copy(f, f.names(("initial_sum", i)), f"{f.names(('initial_parts', i))} + part * {full}", domain, depth, into_unit=False, rows=False)
    for k, sink in enumerate(accumulated(f)):
        domain = sum_domain(f, sink)
        full = cpp_text.bracketed(f.full_volume(tuple(d for d, _ in domain)))
        index = partial_index(f, domain)
        copy(f, f.names(("sum", k)), f"{f.names(('parts', k))} + {cpp_text.bracketed(index)} * {full}", domain, depth, into_unit=False, rows=False)


def missing(f: Scope, domain: Domain) -> list[tuple[Hashable, str]]:
    """The coordinates of a unit that a value has no axis for."""
    there = {marker for _, marker in domain}
    return [c for c in f.coordinates() if c[0] not in there]


def partial_index(f: Scope, domain: Domain) -> str:
    """The number of a unit among those that have the same part of a value."""
    index = "part"
    for marker, count in missing(f, domain):
        index = plus(times(index, count), f.coordinate(marker))
    return index


def partial_count(f: Scope, domain: Domain) -> str:
    """How many units have the same part of a value."""
    return product(["parts", *(count for _, count in missing(f, domain))])


def take_parts(f: Scope) -> None:
    """Memory for what units give parts of."""
    f.put("Memory all;", 1)
    for k, sink in enumerate(accumulated(f)):
        domain = sum_domain(f, sink)
        take(f, f.names(('parts', k), 'parts_of_sum'), times(partial_count(f, domain), f.full_volume(tuple(d for d, _ in domain))))
    for i, (array, _) in enumerate(f.step.carries):
        take(f, f.names(('initial_parts', i), 'parts_of_initial'), times('parts', f.full_volume(array.shape)))
    for i, count in shared_streams(f).items():
        full = f.full_volume(f.step.streams[i].shape)
        take(f, f.names(('stream_parts', i), 'parts_of_stream'), times(count, times('call.batch * call.steps', full)))


def take(f: Scope, name: str, size: str) -> None:
    """Memory of a call, zero at first."""
    f.put(f"T* {name} = all.take<T>({size});", 1)
    f.put(f"zero({name}, {size});", 1)


def shared_streams(f: Scope) -> dict[int, str]:
    """Streams to whose gradient several units add: how many."""
    return {i: product(counts.values()) for i, counts in _shared(f).items() if counts}


def _shared(f: Scope) -> dict[int, dict[Hashable, str]]:
    """For each stream, the coordinates that some part of its gradient has no axis for, and their counts."""
    found: dict[int, dict[Hashable, str]] = {}
    for s in f.program.sinks:
        if s.target.kind == "stream_gradient":
            found.setdefault(s.target.index, {}).update(missing(f, f.shape_domain(s.node)))
    return found


def shared_index(f: Scope, i: int, domain: Domain) -> str:
    """The number of a unit among those that add to the gradient of a stream."""
    markers = _shared(f)[i]
    mine = {m for m, _ in missing(f, domain)}
    index = "0"
    for marker, count in markers.items():
        index = plus(times(index, count), f.coordinate(marker) if marker in mine else "0")
    return index


def add_parts(f: Scope) -> None:
    """Adds up what units have given parts of, in their order."""
    for k, sink in enumerate(accumulated(f)):
        size = cpp_text.bracketed(f.full_volume(tuple(d for d, _ in sum_domain(f, sink))))
        name = f.names(("static_gradient", sink.target.index))
        if sink.target.select is not None and sink.loop is None:
            name += f" + (long({f.scalar(sink.target.select).code}) - 1) * {size}"
        f.put(f"reduce({f.names(('parts', k))}, {partial_count(f, sum_domain(f, sink))}, {size}, {name});", 1)
    for i, (array, _) in enumerate(f.step.carries):
        parts = f.names(("initial_parts", i))
        f.put(f"reduce({parts}, parts, {f.full_volume(array.shape)}, {f.names(('initial_gradient', i))});", 1)
    for i, count in shared_streams(f).items():
        size = times("call.batch * call.steps", f.full_volume(f.step.streams[i].shape))
        f.put(f"zero({f.names(('stream_gradient', i))}.at<T>(0, 0), {size});", 1)
        f.put(f"reduce({f.names(('stream_parts', i))}, {count}, {size}, {f.names(('stream_gradient', i))}.at<T>(0, 0));", 1)


def copy(f: Scope, source: str, target: str, domain: Domain, depth: int, into_unit: bool, rows: bool = True) -> None:
    """Copies a unit's part of an array into the unit's memory, or back."""
    if rows:
        f.put("for (long r = 0; r < rows; ++r) {", depth)
        depth += 1
    else:
        f.put("{", depth)
        depth += 1
    f.put(f"const T* from = {source};", depth)
    f.put(f"T* to = {target};", depth)
    inner = f.row_major([f.extent(*a) for a in domain])
    outer = f.row_major([f.dim(d) for d, _ in domain])
    here, there = "0", "0"
    for k, (d, marker) in enumerate(domain):
        e = f.extent(d, marker)
        if e is not None:
            f.put(f"for (long i{k} = 0; i{k} < {e}; ++i{k})", depth)
            here = plus(here, times(f"i{k}", inner[k]))
        there = plus(there, times(f.place(marker, f"i{k}", False), outer[k]))
    a, bb = (there, here) if into_unit else (here, there)
    f.put(f"to[{bb}] = from[{a}];", depth + 1)
    f.put("}", depth - 1)
