"""Nodes of a channel -> the lines of one function: a statement for what is read twice or has a name, each naming its origin."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rnndsl.diagnostics import Source
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.triton import text
from rnndsl.emit.triton.layout import WIDTH, assigned, returned
from rnndsl.emit.triton.text import ATOM, Text
from rnndsl.emit.triton.uniform import Constants, Uniform
from rnndsl.kernel.channels import Channel
from rnndsl.kernel.graph import Node

_LONG = 16  # words in an expression, from which on it gets a statement of its own


_UNREAD = Text("")


def _read(node: Node) -> tuple[int, ...]:
    """The arguments that a node's text reads: of a surrogate its value alone."""
    return node.args[1:2] if node.op == "surrogate" else node.args


@dataclass
class Function:
    """Writes one function of a channel. Raises Unsupported."""

    channel: Channel
    leaf: Callable[[Node], str]  # the name of a leaf that is an array's entry
    names: KernelNames
    constants: Constants
    source: Source
    like: str  # a value as wide as the channels
    called: Mapping[int, str] = field(default_factory=dict)  # what nodes are that have no name in the program

    def lines(self, groups: Sequence[Sequence[int]]) -> list[str]:
        """Statements that compute some nodes, and the return of them, a tuple a group."""
        results = [n for group in groups for n in group]
        nodes, wanted = self.channel.builder.nodes, set(results)
        needed = self._needed(results)
        numbers = Uniform(nodes, self.names, self.constants)
        uniform = numbers.among(needed)
        counts: dict[int, int] = {}
        for n in needed:
            for a in _read(nodes[n]):
                counts[a] = counts.get(a, 0) + 1
        for n in results:
            counts[n] = counts.get(n, 0) + 1
        local = dict(self.channel.names)
        texts: dict[int, Text] = {}
        lines: list[str] = []
        origin: int | None = None

        def state(n: int, code: Text) -> Text:
            """A statement, and the name that it gives."""
            nonlocal origin, lines
            line = self.source.line_of(nodes[n].span.start)
            if line != origin:
                origin = line
                lines.append(text.comment(self.source.cited(line)[: WIDTH - 6]))
            name = self.names(("value", n), local.get(n) or self.called.get(n, "v"))
            lines += assigned(name, code.lanes(self.like))
            return Text(name, ATOM, f"{name} != 0" if code.condition else None)

        last: set[int] = set()  # what has a name but is returned alone: it stands behind the others, as if it stood in the return
        for n in needed:
            node = nodes[n]
            if n in uniform:
                texts[n] = numbers.text(n)
                continue
            if node.op in ("old", "stream", "static", "carry_gradient", "follow_gradient", "dot"):
                texts[n] = Text(self.leaf(node))
                continue
            args = [texts.get(a, _UNREAD) for a in node.args]
            code = text.operation(node.op, args, self.like)
            plain = code.condition is not None and counts[n] == 1 and n not in wanted  # a condition stands where it is asked
            if not plain and (counts[n] > 1 or n in local or len(re.findall(r"\w+", code.code)) > _LONG):
                code = state(n, code)
            elif n in self.called and n in wanted:
                last.add(n)
            texts[n] = code
        for n in results:
            if n in last:
                texts[n] = state(n, texts[n])
        return lines + returned([[texts[n].lanes(self.like) for n in group] for group in groups])

    def _needed(self, results: Sequence[int]) -> list[int]:
        found: set[int] = set()
        stack = list(results)
        while stack:
            n = stack.pop()
            if n not in found:
                found.add(n)
                stack.extend(_read(self.channel.builder[n]))
        return sorted(found)
