"""Single assignment: each binding of a local gets a name of its own, so that no stage can read another binding than the text means.

The first binding keeps its name; `v:2`, `v:3` are those of a `repeat` that bind `v` again. What its rounds pass on is stated: `passed`.
"""

from dataclasses import dataclass, field, replace

from rnndsl.checks.cell import Apply, Cell, Expr, Let, Passed, Ref, Repeat, Returned, Statement, Type, always_runs, walk


def own_name(name: str) -> str:
    """The program's name of a local that was bound again."""
    return name.split(":")[0]


def single_assignment(cell: Cell) -> Cell:
    """The cell with every name bound once. A repeat that nothing reads is left out."""
    if not any(isinstance(s, Repeat) for s in cell.body):
        return cell
    renamed = _Renaming()
    body = [renamed.statement(s) for s in cell.body]
    outputs = tuple(Returned(o.name, renamed.expr(o.value), o.span) for o in cell.outputs)
    wanted = {n.name for o in outputs for n in walk(o.value) if isinstance(n, Ref)}
    kept: list[Statement] = []
    for s in reversed(body):
        if isinstance(s, Repeat):
            s = replace(s, results=tuple(name for name in s.results if name in wanted))
            if not s.results:
                continue
            s = _without_unread(s)
        values = [*(p.start for p in s.passed), *(let.value for let in s.body)] if isinstance(s, Repeat) else [s.value]
        wanted |= {n.name for v in values for n in walk(v) if isinstance(n, Ref)}
        kept.append(s)
    return replace(cell, body=tuple(kept[::-1]), outputs=outputs)


def _without_unread(repeat: Repeat) -> Repeat:
    """A repeat without what neither its rounds nor anything after it read. What a round begins with is the result of no rounds at all."""
    wanted, found = set[str](), set(repeat.results)
    while found - wanted:
        wanted |= found
        found = {n.name for let in repeat.body if let.name in wanted for n in walk(let.value) if isinstance(n, Ref)}
        found |= {p.last for p in repeat.passed if p.name in wanted}
    runs = always_runs(repeat.low, repeat.high)
    passed = tuple(p for p in repeat.passed if p.name in wanted or (p.last in repeat.results and not runs))
    return replace(repeat, body=tuple(let for let in repeat.body if let.name in wanted), passed=passed)


@dataclass
class _Renaming:
    """What each name of the program stands for, statement by statement."""

    count: dict[str, int] = field(default_factory=dict)  # of the bindings so far
    current: dict[str, str] = field(default_factory=dict)

    def bind(self, name: str) -> str:
        """The name of a new binding."""
        n = self.count[name] = self.count.get(name, 0) + 1
        self.current[name] = name if n == 1 else f"{name}:{n}"
        return self.current[name]

    def statement(self, s: Statement) -> Statement:
        if isinstance(s, Repeat):
            return self.repeat(s)
        s = replace(s, value=self.expr(s.value))
        return replace(s, name=self.bind(s.name)) if isinstance(s, Let) else s

    def repeat(self, s: Repeat) -> Repeat:
        before = dict(self.current)
        types: dict[str, Type] = {let.name: let.value.type for let in s.body}
        starts = {name: Ref(before[name], "local", t, span=s.span) for name, t in types.items() if name in before}
        begins = {name: self.bind(name) for name in starts}
        counter = self.bind(s.counter)
        body: list[Let] = []
        for let in s.body:
            value = self.expr(let.value)
            body.append(replace(let, name=self.bind(let.name), value=value))
        self.current.pop(s.counter)
        passed = tuple(Passed(begins[name], start, self.current[name]) for name, start in starts.items())
        return replace(s, counter=counter, body=tuple(body), passed=passed, results=tuple(self.current[name] for name in types))

    def expr(self, expr: Expr) -> Expr:
        """The expression in the names that stand now."""
        if isinstance(expr, Ref):
            name = self.current.get(expr.name, expr.name) if expr.role in ("local", "counter") else expr.name
            return expr if name == expr.name else replace(expr, name=name)
        if isinstance(expr, Apply):
            args = tuple(self.expr(a) for a in expr.args)
            return expr if all(a is b for a, b in zip(args, expr.args, strict=True)) else replace(expr, args=args)
        return expr
