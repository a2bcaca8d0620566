"""A normal form of matrix states as Python functions: the vectors of all steps at once, and what follows of what is read."""

from collections.abc import Sequence

from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.emit.torch.function import RoundText
from rnndsl.kernel.chunked import ChunkForm, Vectors
from rnndsl.kernel.newton import NewtonStep


class ChunkText(RoundText):
    """Writes a function of one recurrence, called `label`. Raises Unsupported."""

    def __init__(self, form: ChunkForm, label: str, source: Source):
        super().__init__(NewtonStep(form.step, ()), label, source)
        self.form = form

    def lines(self) -> list[str]:
        """The function that gives decays, terms and reads, [B, T, heads, entries] each, or [heads, entries] where no step changes them."""
        form = self.form
        arrays = self._arrays(len(form.step.streams) - len(form.reads))
        vectors = [*form.decay, *(v for t in form.terms for v in (t.left, (t.right,), t.reads)), *(v for r in form.reads for v in (r.old, r.new))]
        body = self._statements([n for v in vectors for n in v if n is not None])
        decay = "".join(f"{self._tuple(row)}, " for row in form.decay).rstrip()
        terms = [f"    ({self._tuple(t.left)}, {self._one(t.right)}, {self._tuple(t.reads)})," for t in form.terms]
        reads = [f"    ({self._tuple(r.old)}, {self._tuple(r.new)})," for r in form.reads]
        shown = [
            "# what old states are multiplied by; u, q, w of each u (q + w S); what reads old and new states",
            f"decay = ({decay})",
            *_listed("terms", terms),
            *_listed("reads", reads),
        ]
        counter = [self._counter(form.repeat.counter)] if form.repeat else []
        return self._function(arrays, [*body, *shown, "return decay, terms, reads"], counter)

    def changes_lines(self, labels: Sequence[str]) -> list[str]:
        """The function that gives what the functions `labels` give, of each change of a step behind the other, rounds one by one."""
        body = ["changes = []"]
        for label, form in zip(labels, (*self.form.earlier, self.form), strict=True):
            given = f"{label}(like, sizes, hypers, arrays"
            if form.repeat is None:
                body.append(f"changes.append({given}))")
            else:
                low, high, counter = self._dim(form.repeat.low), self._dim(form.repeat.high + Dim.of(1)), self._counter(form.repeat.counter)
                body += [f"for {counter} in range({low}, {high}):", f"    changes.append({given}, {counter}))"]
        return self._function([], [*body, "return changes"])

    def follow_lines(self) -> list[str]:
        """The function that gives what follows, given what is read too."""
        arrays = self._arrays(len(self.form.step.streams))
        wanted = [n for _, n in self.form.outputs]
        body = self._statements(wanted)
        values = "".join(f"{self._full(n)}, " for n in wanted).rstrip()
        return self._function(arrays, [*body, f"return ({values})"])

    def _arrays(self, streams: int) -> list[str]:
        """The names of what the function is given."""
        return [*(self._array("stream", i) for i in range(streams)), *(self._array("static", i) for i in range(len(self.step.statics)))]

    def _statements(self, wanted: list[int]) -> list[str]:
        return self._block(self._surveyed(wanted, wanted))

    def _function(self, arrays: list[str], body: list[str], more: Sequence[str] = ()) -> list[str]:
        header = [f"({''.join(f'{a}, ' for a in arrays).rstrip()}) = arrays"] if arrays else []
        header += [f'{value} = {kind}["{given}"]' for (kind, given), value in self.header.items()]
        return [f"def {self.label}({', '.join(['like', 'sizes', 'hypers', 'arrays', *more])}):", *(f"    {line}" for line in [*header, *body])]

    def _tuple(self, vectors: Vectors) -> str:
        return f"({''.join(f'{self._one(n)}, ' for n in vectors).rstrip()})"

    def _one(self, n: int | None) -> str:
        return "None" if n is None else self._full(n)


def _listed(name: str, rows: Sequence[str]) -> list[str]:
    return [f"{name} = (", *rows, ")"] if rows else [f"{name} = ()"]
