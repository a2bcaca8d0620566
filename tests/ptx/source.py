"""Reads the text of PTX: functions, their registers and their statements."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.ptx.types import SIZE


class Unknown(NotImplementedError):
    """Something in PTX that the emulator does not know."""


class Room:
    """Places in the file of a warp: of every register a value for each of 32 lanes."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> int:
        at = self.size
        self.size += (32 * size + 63) // 64 * 64
        return at


@dataclass(frozen=True)
class Space:
    """Parameters and local memory: `size` bytes of every lane."""

    at: int
    size: int


@dataclass(frozen=True)
class Statement:
    """A label, or an instruction with its predicate."""

    line: int
    text: str
    is_label: bool = False
    predicate: str | None = None
    negated: bool = False

    @property
    def opcode(self) -> str:
        return self.text.split(maxsplit=1)[0]

    @property
    def operands(self) -> list[str]:
        return split(self.text.partition(" ")[2] or self.text.partition("\t")[2])


@dataclass
class Function:
    """One .entry or .func. Registers have a type and a place; parameters and local memory have a space."""

    name: str
    room: Room
    text: str
    line: int  # of the first of its text
    registers: dict[str, str] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    scopes: list[dict[str, str]] = field(default_factory=list)  # names of inner blocks, made unique
    scope_count: int = 0

    def declare_spaces(self, text: str) -> list[str]:
        """Takes in a list of parameters of a function; their names."""
        names = []
        for part in filter(None, map(str.strip, text.split(","))):
            kind, name, count = re.search(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+).*?([\w$]+)(?:\[(\d+)\])?\s*$", part).groups()
            self.spaces[name] = self._space(SIZE[kind] * int(count or 1))
            names.append(name)
        return names

    def add_register(self, name: str, kind: str) -> None:
        self.registers[name] = kind
        self.places[name] = self.room.take(SIZE[kind])

    def statements(self) -> Iterator[Statement]:
        """Labels and instructions; declarations are taken in on the way."""
        for number, line in enumerate(self.text.split("\n"), self.line):
            rest = re.sub(r"/\*.*?\*/|//.*", "", line).strip()
            if rest.startswith((".loc ", ".loc\t", ".file", ".section", ".pragma")):
                continue
            while rest:
                rest = rest.strip()
                if not rest:
                    break
                if rest[0] in "{}":
                    self._scope(rest[0])
                    rest = rest[1:]
                elif label := re.match(r"(\$?[\w$]+):(?!:)", rest):
                    yield Statement(number, label[1], is_label=True)
                    rest = rest[label.end() :]
                else:
                    text, end, rest = rest.partition(";")
                    if not end:
                        raise Unknown(f"line {number}: a statement of more than one line: {text}")
                    if not self._declaration(text.strip()):
                        yield self._instruction(number, self._renamed(text.strip()))

    def _scope(self, brace: str) -> None:
        if brace == "{":
            self.scope_count += 1
            self.scopes.append({})
        elif self.scopes:
            self.scopes.pop()

    def _inner(self, name: str) -> str:
        """The unique name of one that an inner block declares."""
        if not self.scopes:
            return name
        return self.scopes[-1].setdefault(name, f"{name.lstrip('%')}__{self.scope_count}")

    def _renamed(self, text: str) -> str:
        for names in self.scopes:
            for inner, unique in names.items():
                text = re.sub(rf"(?<![\w%]){re.escape(inner)}(?!\w)", unique, text)
        return text

    def _declaration(self, text: str) -> bool:
        """Takes in a declaration; false where it is none."""
        if found := re.match(r"\.reg\s*\.(\w+)\s+(.*)", text):
            for name in map(str.strip, found[2].split(",")):
                many = re.match(r"(%?\w+)<(\d+)>", name)
                for one in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [self._inner(name)]:
                    self.add_register(one, found[1])
            return True
        if found := re.match(r"\.(?:param|local)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?$", text):
            self.spaces[self._inner(found[2])] = self._space(SIZE[found[1]] * int(found[3] or 1))
            return True
        return False

    def _space(self, size: int) -> Space:
        return Space(self.room.take(size), size)

    def _instruction(self, line: int, text: str) -> Statement:
        guard = re.match(r"@(!?)(%?\w+)\s+(.*)", text, re.S)
        if guard is None:
            return Statement(line, text)
        return Statement(line, guard[3].strip(), predicate=guard[2], negated=bool(guard[1]))


def split(text: str) -> list[str]:
    """Operands: what commas part, outside of brackets."""
    found, depth = [""], 0
    for c in text:
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            found.append("")
        else:
            found[-1] += c
    return [part.strip() for part in found if part.strip()]


def items(text: str) -> list[str]:
    """The registers of `{a, b}`, or the one that stands alone."""
    return [part.strip() for part in text.strip("{} ").split(",")]


_FUNCTION = re.compile(r"^(?:\.visible |\.weak )?\.(entry|func)\s*(?:\(([^()]*)\))?\s*([\w$]+)\s*\(([^()]*)\)([^;{]*)\{(.*?)\n\}", re.S | re.M)


@dataclass
class Source:
    """A whole PTX text with one kernel: `parameters` are its (type, name), in order."""

    room: Room
    functions: list[Function]  # the kernel first
    parameters: list[tuple[str, str]]
    threads: int
    shared: set[str]
    constants: dict[str, bytes]

    @classmethod
    def read(cls, text: str) -> "Source":
        room, kernel, functions, parameters, threads = Room(), None, [], [], 32
        for kind, results, name, given, settings, body, line in ((*m.groups(), text[: m.start(6)].count("\n") + 1) for m in _FUNCTION.finditer(text)):
            function = Function(name, room, body, line)
            functions.append(function)
            if kind == "func":
                function.given, function.results = function.declare_spaces(given), function.declare_spaces(results or "")
                continue
            if kernel is not None:
                raise Unknown("more than one kernel in a text")
            kernel = function
            wanted = re.search(r"\.reqntid (\d+)", settings)
            threads = int(wanted[1]) if wanted else 32
            for part in filter(None, map(str.strip, given.split(","))):
                found = re.search(r"\.param \.(?:align \d+ )?\.?(\w+).*?(\w+)(?:\[(\d+)\])?\s*$", part)
                parameters.append((found[1], found[2]))
        if kernel is None:
            raise Unknown("no kernel in the text")
        functions.sort(key=lambda f: f is not kernel)
        shared = set(re.findall(r"\.shared .align \d+ \.b8 ([\w$]+)\[", text))
        constants = {
            found[1]: bytes(map(int, found[3].split(",")))
            for found in re.finditer(r"^\.(?:visible )?(?:global|const) \.align \d+ \.b8 ([\w$]+)\[(\d+)\] = \{(.*?)\};", text, re.M)
        }
        return cls(room, functions, parameters, threads, shared, constants)
