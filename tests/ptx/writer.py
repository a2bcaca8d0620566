"""Writes the C++ body of one instruction. What differs between instructions of one shape (places, numbers) becomes an operand, so
that a body is compiled once and serves them all."""

import ctypes
import re
from dataclasses import dataclass, field

from tests.ptx.source import Function, Source, Statement, Unknown, items
from tests.ptx.types import CPP, READ, SIZE, WRITE, bits, family

SPECIAL = {
    "%tid.x": "(u32)(c.warp * 32 + l)",
    "%tid.y": "0u",
    "%tid.z": "0u",
    "%laneid": "(u32)l",
    **{f"%{kind}.{axis}": f"c.{kind}[{i}]" for kind in ("ctaid", "nctaid") for i, axis in enumerate("xyz")},
}


@dataclass
class Writer:
    """One instruction, its parts and operands, and the numbers that its body asks for."""

    source: Source
    function: Function
    statement: Statement
    constants: dict[str, ctypes.Array]
    numbers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.statement.opcode
        self.parts = self.name.split(".")
        self.kind = self.parts[-1]  # the type, of most
        self.a = self.statement.operands

    def unknown(self, what: str = "") -> Unknown:
        """An error that names the instruction."""
        return Unknown(f"PTX line {self.statement.line}: `{self.statement.text}`{': ' + what if what else ' is not known to the emulator'}")

    def number(self, value: int) -> str:
        self.numbers.append(value & (2**64 - 1))
        return f"q[{len(self.numbers) - 1}]"

    def line(self) -> str:
        return f"(int){self.number(self.statement.line)}"

    def bits_type(self, register: str) -> str:
        return CPP[bits(self.function.registers[register])]

    def array(self, register: str) -> str:
        """A register as an array of its lanes."""
        if register not in self.function.registers:
            raise self.unknown(f"no register {register}")
        return f"(({self.bits_type(register)}*)(w.file + {self.number(self.function.places[register])}))"

    def register(self, register: str) -> str:
        return f"{self.array(register)}[l]"

    def predicate(self, operand: str) -> str:
        if operand.startswith("!"):
            return "!" + self.register(operand[1:])
        return self.register(operand) if operand in self.function.registers else str(int(operand not in ("0", "false")))

    def value(self, operand: str, kind: str) -> str:
        """An operand as an expression of a type. A register is read as its bits."""
        if operand in self.function.registers and self.function.registers[operand] == "pred":
            return self.register(operand)
        read = READ.get(kind, f"({CPP[kind]})({{}})").format
        if operand in self.function.registers:
            return read(self.register(operand))
        if operand[:2] in ("0f", "0d", "0F", "0D") and len(operand) > 9:
            return read(self.number(int(operand[2:], 16)))
        if re.fullmatch(r"-?(0[xX])?[0-9a-fA-F]+U?", operand):
            return read(self.number(int(operand.rstrip("U"), 0)))
        if operand == "%ntid.x":
            return read(self.number(self.source.threads))
        if operand in SPECIAL:
            return read(SPECIAL[operand])
        if operand in self.constants:
            return read(self.number(ctypes.addressof(self.constants[operand])))
        if operand in self.source.shared or operand in self.function.spaces:
            return read("0")
        raise self.unknown(f"the operand {operand} is not known to the emulator")

    def store(self, register: str, expression: str, kind: str) -> str:
        """Puts a value of a type into a register."""
        if register == "_":
            return ""
        expression = WRITE.get(kind, "{}").format(expression)
        return f"{self.register(register)} = ({self.bits_type(register)})({expression});"

    def result(self, expression: str, kind: str | None = None) -> str:
        return self.store(self.a[0], expression, kind or self.kind)

    def address(self, operand: str) -> tuple[str, int, str]:
        """The base and the offset of `[base + offset]`, and the whole as an expression."""
        found = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        if found is None:
            raise self.unknown(f"the address {operand} is not known to the emulator")
        base, offset = found[1], int(found[2], 0) if found[2] else 0
        if base in self.function.registers:
            whole = f"(u64){self.register(base)} + {self.number(offset)}"
            return base, offset, f"({whole})" if SIZE[self.function.registers[base]] == 8 else f"(({whole}) & 0xffffffffull)"
        at = ctypes.addressof(self.constants[base]) if base in self.constants else 0
        return base, offset, f"({self.number(at + offset)})"

    def vector(self, operand: str) -> list[str]:
        return items(operand)

    @property
    def width(self) -> int:
        """How many values an access moves."""
        return next((int(p[1:]) for p in self.parts if re.fullmatch(r"v\d", p)), 1)

    @property
    def family(self) -> str:
        return family(self.kind)

    def has(self, *parts: str) -> bool:
        return any(p in self.parts for p in parts)

    def body(self, code: str) -> str:
        """The statements of a function `(w, c, mask, q)`, its operands in variables."""
        names = "".join(f"const u64 q{i} = q[{i}]; " for i in range(len(self.numbers)))
        return names + re.sub(r"\bq\[(\d+)\]", r"q\1", code)
