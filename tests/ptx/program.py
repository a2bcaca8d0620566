"""A whole program: every instruction as a row that the machine runs."""

import ctypes
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from tests.ptx import arithmetic, matrix, memory, warp  # noqa: F401 (they fill the table of rules)
from tests.ptx.rules import RULES, WARP, strangers
from tests.ptx.source import Function, Source, Statement, Unknown, split
from tests.ptx.writer import Writer

ALWAYS = 2**64 - 1  # in place of a predicate


class Kind(IntEnum):
    """As in machine/run.cpp."""

    PLAIN = 0
    BRANCH = 1
    RETURN = 2
    BARRIER = 3
    CALL = 4
    TOGETHER = 5


class Row(NamedTuple):
    """`body` is the C++ of what it does, of a kind that does something; `operands` are its numbers."""

    kind: Kind
    line: int
    body: str | None
    operands: list[int]


class Program:
    """What a PTX text becomes: rows, which of them are jumped to, and what the machine must know of its parameters and constants.
    Raises Unknown, which names the instruction, for what the emulator does not know."""

    def __init__(self, text: str) -> None:
        self.source = Source.read(text)
        self.constants = {name: (ctypes.c_ubyte * len(values)).from_buffer_copy(values) for name, values in self.source.constants.items()}
        carry = self.source.room.take(1)
        found: list[tuple[Function, Statement | None]] = []
        starts: dict[str, int] = {}
        labels: dict[str, int] = {}
        self.functions = {function.name: function for function in self.source.functions}
        for function in self.source.functions:
            function.registers["%carry"], function.places["%carry"] = "pred", carry
            starts[function.name] = len(found)
            for statement in function.statements():
                if statement.is_label:
                    labels[statement.text] = len(found)
                else:
                    found.append((function, statement))
            found.append((function, None))
        self.rows = [self._row(function, statement, labels, starts) for function, statement in found]
        self.is_label = bytearray(len(found) + 1)
        for at in [*labels.values(), *starts.values()]:
            self.is_label[at] = 1
        self.has_atomics = any(s is not None and s.opcode.split(".")[0] in ("atom", "red") for _, s in found)

    def _row(self, function: Function, statement: Statement | None, labels: dict[str, int], starts: dict[str, int]) -> Row:
        if statement is None:
            return Row(Kind.RETURN, 0, None, [ALWAYS, 0, 0])
        parts = statement.opcode.split(".")
        if parts[0] in ("bra", "ret", "exit"):
            place = function.places[statement.predicate] if statement.predicate else ALWAYS
            target = labels[statement.operands[0]] if parts[0] == "bra" else 0
            return Row(Kind.BRANCH if parts[0] == "bra" else Kind.RETURN, statement.line, None, [place, int(statement.negated), target])
        if parts[0] in ("bar", "barrier") and "warp" not in parts:
            if statement.predicate or "sync" not in parts or statement.operands != ["0"]:
                raise Unknown(f"PTX line {statement.line}: `{statement.text}`: only barriers of a whole program are known to the emulator")
            return Row(Kind.BARRIER, statement.line, None, [])
        if parts[0] == "call":
            return Row(Kind.CALL, statement.line, None, [*self._call(function, statement, starts)])
        return self._instruction(function, statement)

    def _call(self, function: Function, statement: Statement, starts: dict[str, int]) -> Iterator[int]:
        """Where the function starts, then, after their count, the copies (from, to, size) of what is given, and of what comes back."""
        a = statement.operands
        results, name, given = a if a[0].startswith("(") and len(a) > 2 else (a[0], a[1], "()") if a[0].startswith("(") else ("()", *a)
        if statement.predicate or name not in self.functions:
            raise Unknown(f"PTX line {statement.line}: `{statement.text}`: this call is not known to the emulator")
        called = self.functions[name]
        yield starts[name]
        for ours, theirs, is_given in ((given, called.given, True), (results, called.results, False)):
            names = split(ours.strip("()"))
            yield len(names)
            for mine, other in zip(names, theirs, strict=True):
                here, there = function.spaces[mine].at, called.spaces[other].at
                yield from (here, there) if is_given else (there, here)
                yield called.spaces[other].size

    def _instruction(self, function: Function, statement: Statement) -> Row:
        i = Writer(self.source, function, statement, self.constants)
        rule = RULES.get(i.parts[0])
        if rule is None:
            raise i.unknown()
        if strange := strangers(i.parts[1:], rule.knows):
            raise i.unknown(f"{', '.join(strange)} is not known to the emulator")
        try:
            code = rule.write(i)
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise i.unknown() from error
        if rule.how == WARP and statement.predicate:
            raise i.unknown("a predicate is not known to the emulator here")
        if statement.predicate:
            code = f"if ({'!' if statement.negated else ''}{i.register(statement.predicate)}) {{ {code} }}"
        if rule.how != WARP:
            code = f"{rule.how}({code})"
        return Row(Kind.TOGETHER if rule.together else Kind.PLAIN, statement.line, i.body(code), i.numbers)
