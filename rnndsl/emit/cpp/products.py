"""Matrix products: rows with a static matrix, by the panels of gemm.h; and any other product."""

from dataclasses import dataclass

from rnndsl.emit.cpp import text as cpp_text
from rnndsl.emit.cpp.entries import Rows, entry, in_unit, loops, of_value, write_copy
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.text import plus, product, times
from rnndsl.kernel.graph import ROUNDS, Map
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.schedule import viewed


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


def matrix_product(f: Scope, n: int) -> MatrixProduct | None:
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


def _whole(f: Scope, n: int, axes: tuple[int, ...]) -> list[int]:
    """Those of some axes of a product that a unit loops over."""
    return [k for k in axes if not isinstance(f.local.get((n, k)), tuple)]


def gather_domain(f: Scope, x: int) -> tuple:
    """The domain of the rows of a product, as the product divides its axes."""
    for n in sorted(f.used):
        if f.nodes[n].op == "product":
            p = matrix_product(f, n)
            if p is not None and p.x == x:
                domain = f.nodes[n].domain
                return tuple((domain[k], f.local.get((n, k))) for k in p.x_map)
    raise AssertionError(x)


def _sizes(f: Scope, n: int, p: MatrixProduct) -> tuple[str, str]:
    domain = f.nodes[n].domain
    return f.dim(domain[p.inside]), f.dim(domain[p.outside])


def _heads(f: Scope, n: int, p: MatrixProduct) -> str:
    """How many matrices of one slice there are."""
    return product(f.dim(f.nodes[n].domain[k]) for k in p.common)


def _panels(f: Scope, n: int) -> str:
    p = matrix_product(f, n)
    assert p is not None
    return f.names(("panels", n), f"{f.leaf_name('statics', f.nodes[p.matrix].leaf.index)}_panels")


def write_pack(f: Scope, n: int, depth: int) -> None:
    """Packs the matrix of a product, each head's by itself, once a call."""
    p = matrix_product(f, n)
    assert p is not None
    inside, outside = _sizes(f, n, p)
    node = f.nodes[p.matrix]
    strides = f.row_major([f.dim(d) for d in node.shape])
    heads = _heads(f, n, p)
    size = f.full_volume(node.shape)
    if node.leaf.select is not None:  # every slice, whichever is asked for
        slices = f.dim(f.step.statics[node.leaf.index].shape[0])
        heads, size = times(slices, heads), times(slices, size)
    name = f.leaf_name("statics", node.leaf.index)
    if p.common and list(p.matrix_map[: len(p.common)]) != list(p.common):
        raise Unsupported("a matrix whose heads are not its first axes")
    apart = size if heads == "1" else f"{size} / {cpp_text.bracketed(heads)}"
    in_stride, out_stride = strides[p.matrix_map.index(p.inside)], strides[p.matrix_map.index(p.outside)]
    f.put(f"const Panels<T, {inside}, {outside}> {_panels(f, n)}({name}, {heads}, {apart}, {in_stride}, {out_stride});", depth)


def saveable(f: Scope) -> list[int]:
    """Products of every step, once, whose results lie in one piece in an array of all steps."""
    found = []
    for n in (g.single for g in f.schedule.groups if g.single is not None):
        p = matrix_product(f, n) if f.nodes[n].op == "product" else None
        if p is not None and not p.further and f.nodes[p.matrix].leaf.select is None:
            divided = [marker is not None for _, marker in f.shape_domain(n)]
            if divided == sorted(divided, reverse=True) and not any(marker == "block" for _, marker in f.shape_domain(n)):
                found.append(n)
    return found


def _write_saved(f: Scope, n: int, depth: int) -> None:
    """Where a product of this step lies: with those of all steps, if there is memory for these."""
    domain = f.shape_domain(n)
    strides = f.row_major([f.dim(d) for d, _ in domain])
    origin = [times(f.coordinate(marker), s) for (_, marker), s in zip(domain, strides, strict=True) if isinstance(marker, tuple)]
    saved = f.saved_name(n)
    f.put(f"T* {f.saved_at(n)} = {saved}.data ? {plus(f'{saved}.at<T>(b, t)', *origin)} : {f.memory_of(n)};", depth)
    f.put(f"const long {f.saved_apart(n)} = {saved}.data ? {saved}.batch : {f.volume(domain)};", depth)


def matrices(f: Scope, products: list[int]) -> str:
    """The bytes of the matrices that a step of a unit reads."""
    counts = []
    for n in products:
        p = matrix_product(f, n)
        assert p is not None
        counts.append(f"packed_size<T, {', '.join(_sizes(f, n, p))}>()")
    return f"({' + '.join(counts)}) * sizeof(T)"


def write_matrix_product(f: Scope, n: int, p: MatrixProduct, depth: int) -> None:
    """Appends a product; backwards none that the call forwards has saved."""
    if n not in f.saved:
        _write_matrix_product(f, n, p, depth)
        return
    _write_saved(f, n, depth)
    if f.direction == "forward":
        _write_matrix_product(f, n, p, depth)
        return
    f.put(f"if (!{f.saved_name(n)}.data) {{", depth)
    _write_matrix_product(f, n, p, depth + 1)
    f.put("}", depth)


def _write_matrix_product(f: Scope, n: int, p: MatrixProduct, depth: int) -> None:
    node = f.nodes[n]
    inside, outside = _sizes(f, n, p)
    gathers = gathered(f)
    x_domain = tuple((node.domain[k], f.local.get((n, k))) for k in p.x_map)
    x_size = cpp_text.bracketed(f.volume(x_domain))
    if p.x in gathers:
        x = gathers[p.x]
        rows = Rows(f, None, [p.x], depth)
        write_copy(f, x_domain, of_value(f, p.x, x_domain), in_unit(f, x_domain, plus(x, times("r", x_size))), depth + 1)
        rows.close()
    else:
        x = f.base_name(p.x)
    y, y_size = f.memory_of(n), cpp_text.bracketed(f.volume(f.shape_domain(n)))
    if n in f.saved:
        y, y_size = f.saved_at(n), f.saved_apart(n)
    head = "0"
    looped: list[int] = []
    for k in p.common:
        marker = f.local.get((n, k))
        head = plus(times(head, f.dim(node.domain[k])), f.coordinate(marker) if isinstance(marker, tuple) else f"i{k}")
        if not isinstance(marker, tuple):
            looped.append(k)
    select = f.nodes[p.matrix].leaf.select
    if select is not None:
        head = plus(times(f"(long({f.scalar(select).code}) - 1)", _heads(f, n, p)), head)

    def multiply(rows: str, x_at: str, x_stride: str, y_at: str, y_stride: str, at: int) -> None:
        sizes = f"T, {inside}, {outside}"
        if f.direction != "step":
            call = f"multiply<{sizes}>({rows}, {x_at}, {x_stride}, {_panels(f, n)}[{head}], {y_at}, {y_stride}"
            f.put(f"crew.each([&](long part, long parts) {{ {call}, part, parts); }});" if f.has_crew else f"{call});", at)
            return
        matrix = f.nodes[p.matrix]
        strides = f.row_major([f.dim(d) for d in matrix.shape])
        i, o = strides[p.matrix_map.index(p.inside)], strides[p.matrix_map.index(p.outside)]
        pointer = plus(f.leaf_name("statics", matrix.leaf.index), times(cpp_text.bracketed(head), times(inside, outside)))
        f.put(f"multiply_plain<{sizes}>({rows}, {x_at}, {x_stride}, {pointer}, {i}, {o}, {y_at}, {y_stride});", at)

    if p.further:
        many = product(["rows", *(f.extent(node.domain[k], f.local.get((n, k))) or "1" for k in p.further)])
        multiply(many, x, inside, y, outside, depth)
        return
    heads = "0"
    for k in looped:
        f.put(f"for (long i{k} = 0; i{k} < {f.dim(node.domain[k])}; ++i{k})", depth)
        depth += 1
        heads = plus(times(heads, f.dim(node.domain[k])), f"i{k}")
    multiply("rows", plus(x, times(heads, inside)), x_size, plus(y, times(heads, outside)), y_size, depth)


def write_plain_product(f: Scope, n: int, depth: int) -> None:
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
        pointer = entry(f, a, domain, names, m)[1:]
        factors.append({"0": f"L::fill(*{pointer})", "1": f"L::load{pointer}"}.get(stride, f"L::load({pointer}, {stride})"))
    f.put(f"total = total + {factors[0]} * {factors[1]};", deepest)
    to = entry(f, n, domain, names, tuple(range(kept)))[1:]
    f.put(f"total.store{to};", inner + 1)
    f.put("});", inner)
    rows.close()


def gathered(f: Scope) -> dict[int, str]:
    """Values that a product reads rows of and that lie elsewhere: each gets memory of its own."""
    found: dict[int, str] = {}
    for n in sorted(f.used):
        if f.nodes[n].op == "product":
            p = matrix_product(f, n)
            if p is None:
                continue
            base = viewed(f.nodes, p.x)
            in_rows = p.x == base and base not in f.saved and (base in f.kept or f.nodes[base].op in ROUNDS)
            if not in_rows:
                found[p.x] = f.names(("gather", p.x), f"{f.base_name(base)}_rows")
    return found
