"""Operations that are no formula of single entries: matrix products, concat, cumsum, diag."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnndsl.checks.dims import Dim
from rnndsl.emit import cpp_text
from rnndsl.emit.cpp_repeats import write_loop, write_loop_back
from rnndsl.emit.cpp_text import plus, times
from rnndsl.kernel.graph import Leaf, Map
from rnndsl.kernel.schedule import viewed
from rnndsl.kernel.values import Unsupported

if TYPE_CHECKING:
    from rnndsl.emit.cpp_function import Function


@dataclass(frozen=True)
class MatrixProduct:
    """A product of a static matrix with rows x: out[.., o] = Σ_i x[.., i] · matrix[.., i, o]; axes are of the product's domain."""

    matrix: int
    x: int
    matrix_map: Map
    x_map: Map
    common: tuple[int, ...]  # axes that the matrix and the rows both have, not summed over
    further: tuple[int, ...]  # axes of the rows alone
    inside: int
    outside: int


def matrix_product(f: "Function", n: int) -> MatrixProduct | None:
    """How a product is one of a static matrix with rows; None where it is not."""
    node = f.nodes[n]
    for i in (0, 1):
        base = viewed(f.nodes, node.args[i])
        if f.nodes[base].op != "static" or node.args[i] != base:
            continue
        mine, theirs = node.maps[i], node.maps[1 - i]
        kept = len(node.shape)
        inside = [k for k in mine if k >= kept]
        outside = [k for k in mine if k < kept and k not in theirs]
        common = tuple(k for k in mine if k < kept and k in theirs)
        further = tuple(k for k in theirs if k < kept and k not in mine)
        if len(inside) == len(outside) == 1 == len(node.summed) and outside[0] == kept - 1 and theirs[-1] == inside[0]:
            if f.local.get((n, inside[0])) or f.local.get((n, outside[0])) == "block":
                continue
            if list(common) == list(range(len(common))) and (not further or not _whole(f, n, common)):
                return MatrixProduct(node.args[i], node.args[1 - i], mine, theirs, common, further, inside[0], outside[0])
    return None


def _whole(f: "Function", n: int, axes: tuple[int, ...]) -> list[int]:
    """Those of some axes of a product that a unit loops over."""
    return [k for k in axes if not isinstance(f.local.get((n, k)), tuple)]


def gather_domain(f: "Function", x: int) -> tuple:
    """The domain of the rows of a product, as the product divides its axes."""
    for n in sorted(f.used):
        if f.nodes[n].op == "product":
            p = matrix_product(f, n)
            if p is not None and p.x == x:
                domain = f.nodes[n].domain
                return tuple((domain[k], f.local.get((n, k))) for k in p.x_map)
    raise AssertionError(x)


def _sizes(f: "Function", n: int, p: MatrixProduct) -> tuple[str, str]:
    domain = f.nodes[n].domain
    return f.dim(domain[p.inside]), f.dim(domain[p.outside])


def _panels(f: "Function", n: int) -> str:
    return f.names(("panels", n), "panels")


def write_pack(f: "Function", n: int, depth: int) -> None:
    """Packs the matrix of a product, each head's by itself, once a call."""
    p = matrix_product(f, n)
    assert p is not None
    inside, outside = _sizes(f, n, p)
    node = f.nodes[p.matrix]
    assert isinstance(node.data, Leaf)
    strides = f.row_major([f.dim(d) for d in node.shape])
    heads = "1"
    for k in p.common:
        heads = times(heads, f.dim(f.nodes[n].domain[k]))
    size = f.full_volume(node.shape)
    if node.data.select is not None:  # every slice, whichever is asked for
        slices = f.dim(f.step.statics[node.data.index].shape[0])
        heads, size = times(slices, heads), times(slices, size)
    name = f.array_name("statics", node.data.index)
    panels = _panels(f, n)
    each = f"packed_size<T, {inside}, {outside}>()"
    f.put(f"Memory {panels}_memory;", depth)
    f.put(f"T* {panels} = {panels}_memory.take<T>({times(heads, each)});", depth)
    if p.common and list(p.matrix_map[: len(p.common)]) != list(p.common):
        raise Unsupported("a matrix whose heads are not its first axes")
    f.put(f"for (long head = 0; head < {heads}; ++head)", depth)
    f.put(
        f"pack<T, {inside}, {outside}>({name} + head * ({size} / ({heads})), {strides[p.matrix_map.index(p.inside)]}, "
        f"{strides[p.matrix_map.index(p.outside)]}, {panels} + head * {each});",
        depth + 1,
    )


def write_single(f: "Function", n: int, depth: int) -> None:
    """Appends the loops of one such operation."""
    node = f.nodes[n]
    f.note(node, depth)
    match node.op:
        case "product":
            p = matrix_product(f, n)
            if p is not None:
                _matrix_product(f, n, p, depth)
            else:
                _plain_product(f, n, depth)
        case "concat":
            _concat(f, n, depth)
        case "cumsum":
            _cumsum(f, n, depth)
        case "loop":
            write_loop(f, n, depth)
        case "loop_back":
            write_loop_back(f, n, depth)
        case "result":
            pass  # the loop has left it there
        case "diag":
            _diag(f, n, depth)
        case "diagonal":
            _diagonal(f, n, depth)
        case _:
            raise Unsupported(node.op)


class Rows:
    """A loop over rows with the pointers of what is read and written."""

    def __init__(self, f: "Function", n: int, reads: list[int], depth: int):
        self.f, self.depth = f, depth
        if f.has_rows:
            f.put("for (long r = 0; r < rows; ++r) {", depth)
        else:
            f.put("{", depth)
            f.put("constexpr long r = 0;", depth + 1)
        for base in dict.fromkeys([viewed(f.nodes, a) for a in reads] + [n]):
            pointer = f.base_pointer(base)
            if pointer is not None:
                f.put(pointer, depth + 1)

    def close(self) -> None:
        self.f.put("}", self.depth)


def loops(f: "Function", domain: tuple, names: list[str], depth: int) -> int:
    """Opens loops over axes; gives the depth inside."""
    for (d, marker), name in zip(domain, names, strict=True):
        e = f.extent(d, marker)
        if e is not None:
            f.put(f"for (long {name} = 0; {name} < {e}; ++{name})", depth)
            depth += 1
    return depth


def _entry(f: "Function", a: int, domain: tuple, names: list[str], m: Map) -> str:
    """An entry of a value at positions of a domain."""
    view = f.view(a)
    in_unit = f.in_unit(view.base)
    offset = view.offset
    for j, k in enumerate(m):
        offset = plus(offset, times(f.place(domain[k][1], names[k], in_unit), view.strides[j]))
    return f"*({plus(f.pointer(view.base), offset)})"


def _matrix_product(f: "Function", n: int, p: MatrixProduct, depth: int) -> None:
    node = f.nodes[n]
    inside, outside = _sizes(f, n, p)
    gathers = f._gathers()
    x_domain = tuple((node.domain[k], f.local.get((n, k))) for k in p.x_map)
    x_size = cpp_text.bracketed(f.volume(x_domain))
    if p.x in gathers:
        x = gathers[p.x]
        rows = Rows(f, n, [p.x], depth)
        names = [f"i{k}" for k in range(len(p.x_map))]
        inner = loops(f, x_domain, names, depth + 1)
        strides = f.row_major([f.extent(*a) for a in x_domain])
        to = plus(x, times("r", x_size), *(times(names[j], strides[j]) for j, a in enumerate(x_domain) if f.extent(*a) is not None))
        f.put(f"*({to}) = {_entry(f, p.x, x_domain, names, tuple(range(len(x_domain))))};", inner)
        rows.close()
    else:
        x = f.base_name(p.x)
    y, y_size = f.name_of(n), cpp_text.bracketed(f.volume(f.shape_domain(n)))
    each = f"packed_size<T, {inside}, {outside}>()"
    head = "0"
    looped: list[int] = []
    for k in p.common:
        marker = f.local.get((n, k))
        head = plus(times(head, f.dim(node.domain[k])), f"n{marker[1]}" if isinstance(marker, tuple) else f"i{k}")
        if not isinstance(marker, tuple):
            looped.append(k)
    select = f.nodes[p.matrix].data.select
    if select is not None:
        count = "1"
        for k in p.common:
            count = times(count, f.dim(node.domain[k]))
        head = plus(times(f"(long({f.scalar(select).code}) - 1)", count), head)
    def multiply(rows: str, x_at: str, x_stride: str, y_at: str, y_stride: str, at: int) -> None:
        sizes = f"T, {inside}, {outside}"
        if f.direction != "step":
            panels = plus(_panels(f, n), times(cpp_text.bracketed(head), each))
            f.put(f"multiply<{sizes}>({rows}, {x_at}, {x_stride}, {panels}, {y_at}, {y_stride});", at)
            return
        matrix = f.nodes[p.matrix]
        strides = f.row_major([f.dim(d) for d in matrix.shape])
        i, o = strides[p.matrix_map.index(p.inside)], strides[p.matrix_map.index(p.outside)]
        pointer = plus(f.array_name("statics", matrix.data.index), times(cpp_text.bracketed(head), times(inside, outside)))
        f.put(f"multiply_plain<{sizes}>({rows}, {x_at}, {x_stride}, {pointer}, {i}, {o}, {y_at}, {y_stride});", at)

    if p.further:
        many = "rows"
        for k in p.further:
            many = times(many, f.extent(node.domain[k], f.local.get((n, k))) or "1")
        multiply(many, x, inside, y, outside, depth)
        return
    heads = "0"
    for k in looped:
        f.put(f"for (long i{k} = 0; i{k} < {f.dim(node.domain[k])}; ++i{k})", depth)
        depth += 1
        heads = plus(times(heads, f.dim(node.domain[k])), f"i{k}")
    multiply("rows", plus(x, times(heads, inside)), x_size, plus(y, times(heads, outside)), y_size, depth)


def _plain_product(f: "Function", n: int, depth: int) -> None:
    """Any product of two values: lanes along the last axis of the result, which one of them should have last."""
    node = f.nodes[n]
    domain = tuple((d, f.local.get((n, k))) for k, d in enumerate(node.domain))
    kept = len(node.shape)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    out = [k for k in range(kept) if f.extent(*domain[k]) is not None]
    lane = out[-1] if out else None
    depth += 1
    inner = loops(f, tuple(domain[k] for k in out[:-1]), [names[k] for k in out[:-1]], depth)
    f.put(f"over<T, {f.extent(*domain[lane]) if lane is not None else '1'}>([&](auto tag, long {names[lane] if lane is not None else 'i'}) INLINED {{", inner)
    f.put("using L = typename decltype(tag)::type;", inner + 1)
    f.put("L total = L::fill(T(0));", inner + 1)
    deepest = loops(f, domain[kept:], names[kept:], inner + 1)
    factors = []
    for a, m in zip(node.args, node.maps, strict=True):
        view = f.view(a)
        stride = next((view.strides[j] for j, k in enumerate(m) if k == lane), "0")
        pointer = _entry(f, a, domain, names, m)[1:]
        factors.append({"0": f"L::fill(*{pointer})", "1": f"L::load{pointer}"}.get(stride, f"L::load({pointer}, {stride})"))
    f.put(f"total = total + {factors[0]} * {factors[1]};", deepest)
    to = _entry(f, n, domain, names, tuple(range(kept)))[1:]
    f.put(f"total.store{to};", inner + 1)
    f.put("});", inner)
    rows.close()


def _concat(f: "Function", n: int, depth: int) -> None:
    node = f.nodes[n]
    rows = Rows(f, n, list(node.args), depth)
    at = Dim.of(0)
    strides = f.row_major([f.extent(*a) for a in f.shape_domain(n)])
    for a in node.args:
        part = f.nodes[a]
        domain = tuple((d, f.local.get((n, k))) for k, d in enumerate(part.shape))
        names = [f"i{k}" for k in range(len(domain))]
        inner = loops(f, domain, names, depth + 1)
        to = plus(f"{f.name_of(n)}_r", times(f.dim(at), strides[node.data]))
        for k, axis in enumerate(domain):
            if f.extent(*axis) is not None:
                to = plus(to, times(names[k], strides[k]))
        f.put(f"*({to}) = {value(f, a, domain, names)};", inner)
        at = at + part.shape[node.data]
    rows.close()


def value(f: "Function", a: int, domain: tuple, names: list[str]) -> str:
    """An entry of a value at positions along its own axes."""
    return _entry(f, a, domain, names, tuple(range(len(domain))))


def _cumsum(f: "Function", n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    inner = loops(f, domain[:-1], names[:-1], depth + 1)
    size = f.extent(*domain[-1])
    last = names[-1]
    f.put("{", inner)
    f.put("T total = 0;", inner + 1)
    order = f"for (long {last} = {size} - 1; {last} >= 0; --{last})" if node.data else f"for (long {last} = 0; {last} < {size}; ++{last})"
    f.put(order, inner + 1)
    f.put(f"{_entry(f, n, domain, names, tuple(range(len(domain))))} = total += {value(f, node.args[0], domain, names)};", inner + 2)
    f.put("}", inner)
    rows.close()


def _diag(f: "Function", n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    f.put(f"zero({f.name_of(n)}_r, {f.volume(domain)});", depth + 1)
    inner = loops(f, domain[:-1], names[:-1], depth + 1)
    names[-1] = names[-2]
    f.put(f"{_entry(f, n, domain, names, tuple(range(len(domain))))} = {value(f, node.args[0], domain[:-1], names[:-1])};", inner)
    rows.close()


def _diagonal(f: "Function", n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    inner = loops(f, domain, names, depth + 1)
    wide = (*domain, domain[-1])
    f.put(f"{_entry(f, n, domain, names, tuple(range(len(domain))))} = {value(f, node.args[0], wide, [*names, names[-1]])};", inner)
    rows.close()
