"""The method of a generated class that runs a call: constants, stages in order, outputs; each line names its origin."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rnndsl.checks.cell import Apply, Expr, Let, Ref, Type, Update, Variable, walk
from rnndsl.diagnostics import Source
from rnndsl.emit.carried import WIDTH
from rnndsl.emit.labels import labels_of
from rnndsl.emit.mixed_text import VIEWS
from rnndsl.emit.naming import Names
from rnndsl.emit.part import call_lines, quoted, tensors, tuple_text, words_of
from rnndsl.emit.statements import Statements
from rnndsl.plan.ir import Carry, Map, Plan, Scan, expressions_of
from rnndsl.plan.recurrence import Exit, Recurrence, product_name, product_type


def _binds(operation: Let | Update, ref: Ref) -> bool:
    """Whether an operation gives a local or a state its value."""
    if isinstance(operation, Let):
        return ref.role == "local" and operation.name == ref.name
    return ref.role == "state" and operation.state == ref.name


class Run(Statements):
    """`_run`: one call over a whole sequence."""

    def __init__(self, plan: Plan, made: Sequence[Recurrence], source: Source, names: Names, used: set[str], standalone: bool = False):
        super().__init__(plan, source, names, used, has_kernels=not standalone)
        self.finals: dict[str, str] = {}  # each field of the state tuple: what holds its last value
        self.late: set[str] = set()  # names of sequences some steps late
        self.methods: list[list[str]] = []
        self.labels = labels_of(plan)
        self.recurrences = {r.scan: r for r in made}
        self.entered = {let.name for r in self.recurrences.values() for let in r.entry}
        self.entered |= {let.name for r in self.recurrences.values() if r.exit for let in r.exit.body}
        self.whole = {g for r in self.recurrences.values() for g in r.products}

    def lines(self) -> list[str]:
        cell = self.cell
        if self.plan.constants:
            self._section("once a call")
        for let in self.plan.constants:
            self.operation(let, "")
        if any(isinstance(s, Map) for s in self.plan.stages):
            self._section("all steps at once")
        if cell.uses_clock:
            self.used.add("clock")
            clock = Ref("t", "clock", Type())
            steps, after = self.names("t.count", "t_count"), self.names("t.after", "t_after")
            self.out.append(f"{steps}, {after} = clock({self._first('t')}, reset, lead[1])")
            self.out.append(f'{self.text(clock)} = {steps}.to(kind["dtype"])')
            self.finals["t"] = after
        for v in cell.of_role("noise"):
            self._noise(v)
        for v in cell.of_role("input"):
            self._lags("input", v)
        follows = False  # a recurrence
        for stage in self.plan.stages:
            if isinstance(stage, Map):
                body = [o for o in stage.body if not (isinstance(o, Let) and o.name in self.entered)]  # what no recurrence computes
                if body and follows:
                    self._section("from its states, all steps at once")
                for operation in body:
                    self.operation(operation, "")
                    if isinstance(operation, Update):
                        self._lags("state", self.plan.variable(operation.state))
            else:
                self._scan(self.recurrences[stage])
            follows = isinstance(stage, Scan)
        self._return()
        words = words_of([line for line in self.out if line not in self.widened])
        self.out = [line for line in self.out if line not in self.widened or line.split()[0] in words]
        return ['"""A call over whole sequences, [B, T, ...] each."""', *self._head(), *self.out]

    def _head(self) -> list[str]:
        """Unpacks the arguments, naming only what the body reads."""
        cell, plan = self.cell, self.plan
        read = words_of(self.out)
        wide = [line for v in cell.of_role("input") if (line := self.widening(v.name)).split()[0] in read]
        self.out = [*wide, *self.out]
        return [
            *self.unpacking([self.names(v.name) for v in tensors(cell)], "params"),
            *self.unpacking([self.names(v.name) for v in cell.of_role("input")], "inputs"),
            *self.unpacking([self._first(c.field) for c in plan.carries], "state"),
            *self.unpacking([self._start(c.field) for c in plan.carries], "initial"),
            *self.header_values(self.out),
        ]

    def _first(self, field_name: str) -> str:
        return self.names(("first", field_name), f"{field_name}_first")

    def _start(self, field_name: str) -> str:
        return self.names(("initial", field_name), f"{field_name}_initial")

    def _section(self, title: str) -> None:
        self.out += ["", f"# {title}"]
        self.origin = None

    def _source(self, value: Expr) -> Expr | None:
        """What a value is where it lies in memory of its own, that of nothing but other names of it: a computation of every step, or a state
        that a recurrence makes; else None."""
        if isinstance(value, Ref):
            if value.role == "state" and any(value.name in s.states for s in self.plan.scans):
                return value if value.lag == 0 else None
            bound = [o.value for s in self.plan.stages if isinstance(s, Map) for o in s.body if isinstance(o, Let | Update) and _binds(o, value)]
            return self._source(bound[0]) if len(bound) == 1 and value.lag == 0 else None
        return value if isinstance(value, Apply) and value.op not in VIEWS and self.text.lead(value) else None

    def _noise(self, v: Variable) -> None:
        assert v.draw is not None
        self.used.add("draw_noise")
        self.provenance(v.span, "")
        args = tuple_text([self.text(a, v.type) for a in v.draw.args])
        name, shape = self.names(v.name), self.full_shape(v.type)
        drawn = self.full_shape(v.type, "lead[0], 1") if v.draw.once else shape
        code = f"draw_noise({quoted(v.draw.name)}, {args}, {drawn}, self.training, **kind)"
        if v.draw.once:
            self.used.add("once")
            code = f"once({code}, state).expand({shape})"
        self.out.append(f"{name} = {code}")

    def _lags(self, role: str, v: Variable) -> None:
        """Sequences of earlier steps, `x[t-1]`, and the values that the next call needs of them."""
        t = v.type
        carries = [c for c in self.plan.carries if c.source == v.name and c.role == role]
        lags = self.cell.lags(role).get(v.name, 0)
        outside = self._read_outside(role, v.name)
        sequence = self.text.text(Ref(v.name, role, t)).code
        for lag in range(1, lags + 1):
            c = next(c for c in carries if c.lag == lag)
            if c.field not in self.finals:
                self.used.add("last")
                self.finals[c.field] = f"last({sequence}, {self._first(c.field)})"
            if lag > outside and all(c.field in self.finals for c in carries):
                break
            name = self._name(Ref(v.name, role, t, lag))
            self.out.append(f"{name} = {self._late(sequence, c.field)}")
            self.late.add(name)
            sequence = name
        for c in carries:
            if c.field not in self.finals and c.lag == 1:
                self.used.add("last")
                self.finals[c.field] = f"last({self.text.text(Ref(v.name, role, t)).code}, {self._first(c.field)})"

    def _late(self, sequence: str, field: str) -> str:
        """A sequence one step late, which a field of the state carries on from call to call."""
        self.used.add("lagged")
        return f"lagged({sequence}, {self._first(field)}, {self._start(field)}, reset)"

    def _after(self) -> dict[str, str]:
        """Each field of the state tuple after every step, [B, T, ...], the nearest lags first: those further back are made of them, by name."""
        found = dict[str, str]()
        nearer = dict[tuple[str, str], tuple[str, Carry]]()  # of each sequence, the last field so far
        for c in sorted(self.plan.carries, key=lambda c: c.lag):
            if c.role == "clock":
                found[c.field] = f"{self.names('t.count')} + 1"
                continue
            key = (c.role, c.source)
            if key not in nearer:
                name = found[c.field] = self.text.text(Ref(c.source, c.role, c.type)).code
            else:
                sequence, before = nearer[key]
                name = self._name(Ref(c.source, c.role, c.type, before.lag))
                found[c.field] = name if name in self.late else f"({name} := {self._late(sequence, before.field)})"
            nearer[key] = name, c
        return found

    def _read_outside(self, role: str, name: str) -> int:
        """The furthest lag at which something that is not the state's own scan reads a name."""
        furthest = max(
            (v.lag for _, v, _ in self.plan.outputs if isinstance(v, Ref) and (v.role, v.name) == (role, name)),
            default=0,
        )
        for stage in self.plan.stages:
            refs: list[Ref] = []
            if isinstance(stage, Scan):
                recurrence = self.recurrences[stage]
                refs = [*stage.streams, *recurrence.streams, *(recurrence.exit.streams if recurrence.exit else ())]
                refs += [n for let in (recurrence.exit.ahead if recurrence.exit else ()) for n in walk(let.value) if isinstance(n, Ref)]
            else:
                for operation in (o for o in stage.body if not (isinstance(o, Let) and o.name in self.entered)):
                    refs.extend(n for e in expressions_of(operation) for n in walk(e) if isinstance(n, Ref))
            furthest = max([furthest, *(r.lag for r in refs if r.role == role and r.name == name)])
        return furthest

    def _scan(self, recurrence: Recurrence) -> None:
        """The call that runs a recurrence, and the methods that say what it computes."""
        stage = recurrence.scan
        self._enter_or_step(recurrence, "enter", recurrence.entry, list(stage.streams), self._given(recurrence))
        place = {(s, lag): k for k, (s, lag) in enumerate(stage.carried)}
        carries = sorted((c for c in self.plan.carries if c.role == "state" and (c.source, c.lag) in place), key=lambda c: place[c.source, c.lag])
        old = [Ref(c.source, "state", c.type, c.lag) for c in carries]
        new = [Ref(c.source, "state", c.type, c.lag - 1) for c in carries]
        self._enter_or_step(recurrence, "step", stage.body, new, [*old, *stage.streams])
        sequences = [self.names(s) for s in stage.states]
        finals = [self.names(("final", c.field), f"{c.field}_last") for c in carries]
        self.finals.update({c.field: f for c, f in zip(carries, finals, strict=True)})
        exit_ = recurrence.exit
        if exit_:
            for let in exit_.ahead:
                self.operation(let, "")
            self._exit(recurrence, exit_, old[: len(stage.states)], [c.field for c in carries[: len(stage.states)]])
        self._section(f"{', '.join(stage.states)}: the recurrence{', and what follows it' if exit_ else ''}")
        call = {
            "streams": tuple_text([self._name(s) for s in self._given(recurrence)]),
            "statics": tuple_text([self._name(s) for s in recurrence.statics]),
            "first": tuple_text([self._first(c.field) for c in carries]),
            "initial": tuple_text([self._start(c.field) for c in carries]),
            "reset": "reset",
            "steps": "lead[1]",
            "guess": tuple_text([f"guess.get({quoted(s)})" for s in self.shown(recurrence)]),
        }
        if exit_ and not exit_.whole:
            call["all_states"] = "all_states"
        targets = [tuple_text(sequences), tuple_text(finals)]
        if exit_:
            call["further"] = tuple_text([tuple_text([self._name(s) for s in group]) for group in (exit_.streams, exit_.statics)])
            targets.append(tuple_text([self.names(r.name) for r in exit_.returned]))
        else:
            targets.append("_")
        self.out.extend(call_lines(["call"], "Call", [f"{name}={value}" for name, value in call.items()]))
        self.out.append(f"{', '.join(targets)} = self._scan({quoted(self.label(recurrence))}, call, kind)")
        self.origin = None
        for s in stage.states:
            self._lags("state", self.plan.variable(s))

    def label(self, recurrence: Recurrence) -> str:
        """What the methods of a recurrence are called by."""
        return self.labels[recurrence.scan.states]

    def shown(self, recurrence: Recurrence) -> tuple[str, ...]:
        """What its states are called in the state tuple."""
        return tuple(self.fields[s] for s in recurrence.scan.states)

    def _given(self, recurrence: Recurrence) -> list[Ref]:
        """What a recurrence reads of every step: streams, and merged products whole."""
        return [*recurrence.streams, *(Ref(product_name(g), "local", product_type(g)) for g in recurrence.products)]

    @contextmanager
    def _method(self, name: str, arguments: list[str], about: str) -> Iterator[None]:
        """The lines of a method beside `_run`, which has no names of half values."""
        out, self.out, self.origin = self.out, [], None
        self.text = self.plain
        yield
        lines = [*self.header_values(self.out), *self.out]
        self.out, self.text = out, self.mixed
        given = ["self", "kind", *arguments]
        signature = f"def {name}({', '.join(given)}):"
        if len(signature) > WIDTH:
            signature = f"def {name}(\n    {', '.join(given[:2])},\n" + "".join(f"    {a},\n" for a in given[2:]) + "):"
        self.methods.append([*signature.split("\n"), *(f"    {line}" if line else "" for line in (f'"""{about}"""', *lines))])

    def _enter_or_step(self, recurrence: Recurrence, kind: str, body: tuple, returned: list[Ref], arguments: list[Ref]) -> None:
        """A method `_enter_h`, which makes the streams of a step from what is given, or `_step_h`, which is one step."""
        about = "What each step reads, for all steps at once." if kind == "enter" else "One step: the new values, from those of the step before."
        with self._method(f"_{kind}_{self.label(recurrence)}", [self._name(a) for a in (*arguments, *recurrence.statics)], about):
            if kind == "enter":
                for g in recurrence.products:
                    self.split(g, self._name(Ref(product_name(g), "local", product_type(g))), "")
            self.nested = True
            for operation in body:
                self.operation(operation, "")
            self.nested = False
            self.out.append(f"return {tuple_text([self._name(r) for r in returned])}")

    def _exit(self, recurrence: Recurrence, exit_: Exit, old: list[Ref], fields: list[str]) -> None:
        """A method `_exit_h`, which makes what follows a recurrence from its states, what these began with, and what it was given."""
        stage, label = recurrence.scan, self.label(recurrence)
        given, statics = [self._name(s) for s in self._given(recurrence)], [self._name(s) for s in recurrence.statics]
        read = {n for let in exit_.body for n in walk(let.value) if isinstance(n, Ref)}
        states = [self._name(Ref(s.name, "state", s.type)) for s in old]
        begins = [*map(self._first, fields), *map(self._start, fields)]
        further = [self._name(s) for s in (*exit_.streams, *exit_.statics)]
        with self._method(f"_exit_{label}", ["reset", *states, *begins, *given, *statics, *further], "What follows the recurrence, for all steps at once."):
            if any(s in read for s in stage.streams if self._name(s) not in given):
                entered = [self._name(s) if s in read else "_" for s in stage.streams]
                self.out.extend(call_lines([tuple_text(entered)], f"self._enter_{label}", ["kind", *given, *statics]))
            for state, name in zip(old, fields, strict=True):
                if state in read:
                    self.used.add("lagged")
                    arguments = [self._name(Ref(state.name, "state", state.type)), self._first(name), self._start(name), "reset"]
                    self.out.append(f"{self._name(state)} = lagged({', '.join(arguments)})")
            for operation in exit_.body:
                self.operation(operation, "")
            values = [self.expanded(self._name(r), r.type) for r in exit_.returned]
            self.out.append(f"return {tuple_text(values)}")
            if any("lead" in v for v in values):
                self.out.insert(0, f"lead = {states[0]}.shape[:2]")

    def _return(self) -> None:
        taken: set[Expr] = set()
        values = []
        for _, value, _ in self.plan.outputs:
            source = self._source(value)
            fresh = source is not None and source not in taken
            taken |= {source} if source is not None else set()
            values.append(self.expanded(self.text.tensor(value).code, value.type, "expand_to" if fresh else "expand_own"))
        states = [f"{quoted(self.fields[f])}: {code}" for f, code in self._after().items()]
        self.out.append(f"return {tuple_text(values)}, {tuple_text([self.finals[f] for f in self.fields])}, lambda: {{{', '.join(states)}}}")
