"""What functions and operators make of numbers: as a number, and as Python text for what is known when a layer is made."""

from rnndsl.functions import ENTRIES, OPERATIONS
from rnndsl.functions.row import Function

NUMBERS: dict[str, Function] = {
    name: row for name, row in (ENTRIES | {"surrogate": OPERATIONS["surrogate"]}).items() if row.number is not None
}  # by what the language calls them


def call(row: Function, args: list[str]) -> str:
    """The Python text of a function of numbers, of arguments that stand in no need of brackets."""
    match row.name:
        case "+" | "-" | "*":
            return f"({args[0]} {row.name} {args[1]})"
        case "neg":
            return f"(-{args[0]})"
        case "<" | "<=" | ">" | ">=" | "==" | "!=":
            return f"float({args[0]} {row.name} {args[1]})"
        case "surrogate":
            return args[1]
        case "im":
            return "0.0"
    assert row.number is not None
    name = row.number.__name__
    return f"{name}({args[0]})" if row.number in (abs, float) else f"Scalars.{name}({', '.join(args)})"
