"""What a kernel adds up and carries backwards: gradients of old states, of initial values, of params, and of streams that units share."""

from collections.abc import Hashable

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.entries import in_array, in_unit, write_copy
from rnndsl.emit.cpp.outers import outer_rounds, outer_size
from rnndsl.emit.cpp.scope import Coordinates, Domain, Scope, Target
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
    return f.names(("carry_gradient", i), f"d_{array.label}_{lag}_next")


def new_carry_name(f: Scope, i: int) -> str:
    array, lag = f.step.carries[i]
    return f.names(("new_carry", i), f"d_{array.label}_{lag}")


def initial_sum(f: Scope, i: int) -> str:
    """The sum of the gradients that go to an initial value."""
    array, lag = f.step.carries[i]
    return f.names(("initial_sum", i), f"d_{array.label}_{lag}_initial_sum")


def static_sum(f: Scope, k: int, sink: Sink) -> str:
    """The sum of a static gradient over steps."""
    return f.names(("sum", k), f"{_static(f, sink)}_sum")


def _static(f: Scope, sink: Sink) -> str:
    return f"d_{f.step.statics[sink.target.index].label}"


def begin(f: Scope, depth: int) -> None:
    for i in range(len(f.step.carries)):
        size = cpp_text.bracketed(f.volume(f.state_domain(i)))
        f.put(f"T *{carry_name(f, i)} = memory.take<T>(ROWS * {size}), *{new_carry_name(f, i)} = memory.take<T>(ROWS * {size});", depth)
        f.put(f"T* {initial_sum(f, i)} = memory.zeros<T>({size});", depth)
        domain = f.state_domain(i)
        given = in_array(f, domain, f"{f.names(('final_gradient', i))}.at<const T>(b + r, 0)")
        f.put("for (long r = 0; r < rows; ++r)", depth)
        write_copy(f, domain, given, in_unit(f, domain, f"{carry_name(f, i)} + r * {size}"), depth + 1)
    for k, sink in enumerate(accumulated(f)):
        size = cpp_text.bracketed(f.volume(sum_domain(f, sink)))
        f.put(f"T* {static_sum(f, k, sink)} = memory.zeros<T>({size});", depth)


def end_step(f: Scope, depth: int) -> None:
    """A reset sends the gradient to the initial value, not to the step before."""
    if not f.step.carries:
        return
    f.put("for (long r = 0; call.reset.data && r < rows; ++r)", depth)
    f.put("if (call.resets(b + r, t)) {", depth + 1)
    for i in range(len(f.step.carries)):
        size = cpp_text.bracketed(f.volume(f.state_domain(i)))
        name = new_carry_name(f, i)
        f.put(f"reduce({name} + r * {size}, 1, {size}, {initial_sum(f, i)});", depth + 2)
        f.put(f"zero({name} + r * {size}, {size});", depth + 2)
    f.put("}", depth + 1)
    for i in range(len(f.step.carries)):
        f.put(f"std::swap({carry_name(f, i)}, {new_carry_name(f, i)});", depth)


def end(f: Scope, depth: int) -> None:
    for i in range(len(f.step.carries)):
        domain = f.state_domain(i)
        size = cpp_text.bracketed(f.volume(domain))
        f.put("for (long r = 0; r < rows; ++r)", depth)
        to = in_array(f, domain, f"{f.names(('first_gradient', i))}.at<T>(b + r, 0)")
        write_copy(f, domain, in_unit(f, domain, f"{carry_name(f, i)} + r * {size}"), to, depth + 1)
        full = cpp_text.bracketed(f.full_volume(f.step.carries[i][0].shape))
        write_copy(f, domain, in_unit(f, domain, initial_sum(f, i)), in_array(f, domain, f"{f.names(('initial_parts', i))} + part * {full}"), depth)
    for k, sink in enumerate(accumulated(f)):
        domain = sum_domain(f, sink)
        full = cpp_text.bracketed(f.full_volume(tuple(d for d, _ in domain)))
        index = partial_index(f, domain)
        to = in_array(f, domain, f"{f.names(('parts', k))} + {cpp_text.bracketed(index)} * {full}")
        write_copy(f, domain, in_unit(f, domain, static_sum(f, k, sink)), to, depth)


def missing(f: Scope, domain: Domain) -> Coordinates:
    """The coordinates of a unit that a value has no axis for."""
    there = {marker for _, marker in domain}
    return tuple(c for c in f.coordinates() if c[0] not in there)


def partial_index(f: Scope, domain: Domain) -> str:
    """The number of a unit among those that have the same part of a value."""
    index = "part"
    for marker, count in missing(f, domain):
        index = plus(times(index, count), f.coordinate(marker))
    return index


def partial_count(f: Scope, domain: Domain) -> str:
    """How many units have the same part of a value."""
    return product(["units.parts", *(count for _, count in missing(f, domain))])


def take_parts(f: Scope) -> None:
    """Memory for what units give parts of."""
    f.put("Memory all;", 1)
    for k, sink in enumerate(accumulated(f)):
        domain = sum_domain(f, sink)
        take(f, f.names(('parts', k), f"{_static(f, sink)}_parts"), times(partial_count(f, domain), f.full_volume(tuple(d for d, _ in domain))))
    for i, (array, lag) in enumerate(f.step.carries):
        take(f, f.names(('initial_parts', i), f"d_{array.label}_{lag}_initial_parts"), times('units.parts', f.full_volume(array.shape)))
    for (kind, i), count in _shared_counts(f).items():
        size, whole = times(count, times("call.batch * call.steps", entries(f, (kind, i)))), f.names((kind, i))
        name = f.names(("parts", kind, i), f"{whole.rstrip('_')}_parts")
        f.put(f"T* {name} = {count} == 1 ? {whole}.at<T>(0, 0) : all.zeros<T>({size});", 1)  # one part is the whole


def take(f: Scope, name: str, size: str) -> None:
    """Memory of a call, zero at first."""
    f.put(f"T* {name} = all.zeros<T>({size});", 1)


def entries(f: Scope, target: Target) -> str:
    """How many entries of the gradient of a stream, or of an outer product's factor, a step has."""
    kind, i = target
    if kind == "stream_gradient":
        return f.full_volume(f.step.streams[i].shape)
    return times(cpp_text.bracketed(outer_rounds(f, i)[1]), outer_size(f, i, left=True))


def shared_of(f: Scope) -> dict[Target, Coordinates]:
    """The gradients of streams, and left factors of outer products, which are gradients too, to which several units add: of each the coordinates that
    some part of it has no axis for."""
    found: dict[Target, dict[Hashable, str]] = {}
    for s in f.program.sinks:
        if s.target.kind in ("stream_gradient", "outer_left"):
            found.setdefault((s.target.kind, s.target.index), {}).update(missing(f, f.shape_domain(s.node)))
    return {target: tuple(counts.items()) for target, counts in found.items() if counts}


def shared_index(f: Scope, target: Target, domain: Domain) -> str:
    """The number of a unit among those that add to it."""
    mine = {m for m, _ in missing(f, domain)}
    index = "0"
    for marker, count in f.shared[target]:
        index = plus(times(index, count), f.coordinate(marker) if marker in mine else "0")
    return index


def _shared_counts(f: Scope) -> dict[Target, str]:
    """How many units add to what several do."""
    return {target: product(count for _, count in coordinates) for target, coordinates in f.shared.items()}


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
        f.put(f"reduce({parts}, units.parts, {f.full_volume(array.shape)}, {f.names(('initial_gradient', i))});", 1)
    for target, count in _shared_counts(f).items():
        size = times("call.batch * call.steps", entries(f, target))
        f.put(f"if ({count} > 1) add_up({f.names(('parts', *target))}, {count}, {size}, {f.names(target)}.at<T>(0, 0));", 1)
