"""The normal form of matrix states as text: what a chunk of steps is solved by."""

from typing import Any

from rnndsl.kernel.build import RecurrenceKernels, Refusal
from rnndsl.kernel.chunked import ChunkForm
from rnndsl.kernel.graph import Node
from rnndsl.tools.names import Shown

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2}
_NEG, _ATOM = 3, 4


def normal_form(kernels: RecurrenceKernels | None, shown: Shown) -> dict[str, Any] | None:
    """What `explain --json` says of it; None of a component without matrix states."""
    if kernels is None:
        return None
    if isinstance(kernels.chunked, Refusal):
        return {"reason": kernels.chunked.reason} if _has_matrices(kernels) else None
    form = kernels.chunked
    changes = (*form.earlier, form)
    equations, where = list[str](), dict[str, str]()
    for k, change in enumerate(changes):
        mark = chr(ord("A") + k) if len(changes) > 1 else ""
        old = "" if k or change.repeat else "[t-1]"
        lines, found = _change(change, shown, mark, old, "" if change is not form or change.repeat else "[t]")
        place = "" if change.repeat is None else f"repeat {change.repeat.counter} in {change.repeat.low}..{change.repeat.high}: "
        equations += [f"{place}{line}" for line in lines]
        where |= found
    return {"equations": equations, "where": [{"name": n, "text": t} for n, t in where.items()], "bounded": form.bounded, "states": form.whole}


def _change(form: ChunkForm, shown: Shown, mark: str, before: str, behind: str) -> tuple[list[str], dict[str, str]]:
    """The equations of one change of the states, and what is in them; mark: behind the names of what is in them; before and behind: which states."""
    text = _Text(form, shown)
    states = [array.name for array, _ in form.step.carries]
    turned = "ᵀ" if form.axis else ""
    several = len(states) > 1
    old = [f"{s}{before}{turned}" for s in states]
    equations, found = [], dict[str, str]()
    numbers = [f"{mark}{i + 1}" if len(form.terms) > 1 else mark for i in range(len(form.terms))]
    for i in range(len(states)):
        own = [(j, d) for j, d in enumerate(form.decay[i]) if d is not None]
        parts = []
        for j, d in own:
            name = f"a{mark}{i + 1}{j + 1}" if several else f"a{mark}"
            value = text.of(d)
            if value != "1":
                found[name] = value
            parts.append(old[j] if value == "1" else f"diag({name}) {old[j]}" if form.rows else f"{name} {old[j]}")
        for n, term in zip(numbers, form.terms, strict=True):
            if term.left[i] is None:
                continue
            u = f"u{n}{chr(ord('a') + i) if several else ''}"
            found[u] = text.of(term.left[i])
            read = [(f"w{n}{chr(ord('a') + j) if several else ''}", j, w) for j, w in enumerate(term.reads) if w is not None]
            factors = [] if term.right is None else [f"q{n}"]
            if term.right is not None:
                found[f"q{n}"] = text.of(term.right)
            for name, j, w in read:
                found[name] = text.of(w)
                factors.append(f"{states[j]}{before} {name}" if form.axis else f"{old[j]}ᵀ {name}")
            inner = " + ".join(factors)
            parts.append(f"{u} ({inner})ᵀ" if read else f"{u} {inner}ᵀ")
        equations.append(f"{states[i]}{behind}{turned} = {' + '.join(parts) or '0'}")
    return equations, found


def _has_matrices(kernels: RecurrenceKernels) -> bool:
    plan = kernels.component.plan
    return plan is not None and any(plan.variable(s).type.rank == 2 for s in kernels.recurrence.scan.states)


class _Text:
    """Nodes as formulas, in the names that a reader is shown."""

    def __init__(self, form: ChunkForm, shown: Shown):
        self.step, self.shown = form.step, shown
        self.names = {n: shown(name) for n, name in form.step.names}

    def of(self, n: int | None, level: int = 0) -> str:
        if n is None:
            return "0"
        text, binds = self._text(n)
        return text if binds >= level else f"({text})"

    def _text(self, n: int) -> tuple[str, int]:
        if n in self.names:
            return self.names[n], _ATOM
        node: Node = self.step.builder[n]
        match node.op:
            case "number":
                return f"{node.of(float):g}", _ATOM
            case "stream" | "static":
                arrays = self.step.streams if node.op == "stream" else self.step.statics
                slice_ = f"[{self.of(node.args[0])}]" if node.args else ""
                return self.shown(arrays[node.leaf.index].name) + slice_, _ATOM
            case "size" | "hyper" | "counter":
                return str(node.data), _ATOM
            case "copy":
                return self._text(node.args[0])
            case "neg":
                return f"-{self.of(node.args[0], _NEG)}", _NEG
            case "+" | "-" | "*" | "/":
                level = _LEVELS[node.op]
                space = " " if level == 1 else ""
                return f"{self.of(node.args[0], level)}{space}{node.op}{space}{self.of(node.args[1], level + 1)}", level
            case "slice":
                return f"part of {self.of(node.args[0], _ATOM)}", _ATOM
            case "product":
                return " @ ".join(self.of(a, _ATOM) for a in node.args), 2
        return f"{node.op}({', '.join(map(self.of, node.args))})", _ATOM
