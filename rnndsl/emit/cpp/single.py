"""Operations that are no formula of single entries: concat, cumsum, diag."""

from rnndsl.checks.dims import Dim
from rnndsl.emit.cpp.entries import Lie, Rows, entry, loops, of_value, value, write_copy
from rnndsl.emit.cpp.scope import Scope
from rnndsl.emit.cpp.text import plus, times


def write_concat(f: Scope, n: int, depth: int) -> None:
    node = f.nodes[n]
    rows = Rows(f, n, list(node.args), depth)
    at = Dim.of(0)
    strides = f.row_major([f.extent(*a) for a in f.shape_domain(n)])
    for a in node.args:
        part = f.nodes[a]
        domain = tuple((d, f.local.get((n, k))) for k, d in enumerate(part.shape))
        to = Lie(plus(f.row_pointer(n), times(f.dim(at), strides[node.of(int)])), strides)
        write_copy(f, domain, of_value(f, a, domain), to, depth + 1)
        at = at + part.shape[node.of(int)]
    rows.close()


def write_cumsum(f: Scope, n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    inner = loops(f, domain[:-1], names[:-1], depth + 1)
    size = f.extent(*domain[-1])
    last = names[-1]
    f.put("{", inner)
    f.put("T total = 0;", inner + 1)
    order = f"for (long {last} = {size} - 1; {last} >= 0; --{last})" if node.of(bool) else f"for (long {last} = 0; {last} < {size}; ++{last})"
    f.put(order, inner + 1)
    f.put(f"{entry(f, n, domain, names, tuple(range(len(domain))))} = total += {value(f, node.args[0], domain, names)};", inner + 2)
    f.put("}", inner)
    rows.close()


def write_diag(f: Scope, n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    f.put(f"zero({f.row_pointer(n)}, {f.volume(domain)});", depth + 1)
    inner = loops(f, domain[:-1], names[:-1], depth + 1)
    names[-1] = names[-2]
    f.put(f"{entry(f, n, domain, names, tuple(range(len(domain))))} = {value(f, node.args[0], domain[:-1], names[:-1])};", inner)
    rows.close()


def write_diagonal(f: Scope, n: int, depth: int) -> None:
    node = f.nodes[n]
    domain = f.shape_domain(n)
    names = [f"i{k}" for k in range(len(domain))]
    rows = Rows(f, n, list(node.args), depth)
    inner = loops(f, domain, names, depth + 1)
    wide = (*domain, domain[-1])
    f.put(f"{entry(f, n, domain, names, tuple(range(len(domain))))} = {value(f, node.args[0], wide, [*names, names[-1]])};", inner)
    rows.close()
