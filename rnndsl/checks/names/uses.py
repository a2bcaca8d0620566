"""What holds of a name and a call wherever they stand: reserved names, functions and their arguments, what may stand behind a dot."""

from collections.abc import Container

from rnndsl.checks.draws import INITIALISERS
from rnndsl.checks.names.times import time_lag
from rnndsl.checks.names.words import counted, given
from rnndsl.checks.suggest import random_value, unknown_function
from rnndsl.diagnostics import Collector, Related
from rnndsl.functions import FUNCTIONS
from rnndsl.syntax import ast
from rnndsl.syntax.keywords import TIME


def check_reserved(name: ast.Name, out: Collector) -> bool:
    """Reports a declared name that is `t` or a built-in; True where it is."""
    if name.id == TIME:
        out.error("reserved", "`t` is reserved for time", name.span, "choose another name",
                  hint="`t` is the step number; inside [ ] it is the step, as in `h[t-1]`")  # fmt: skip
        return True
    if name.id in FUNCTIONS:
        out.error("reserved", f"`{name.id}` is a built-in function", name.span, "choose another name")
        return True
    return False


_MODULES = frozenset(("np", "numpy", "torch", "math", "F", "nn", "jnp", "jax", "tf", "self"))


def check_attribute(expr: ast.Expr, known: Container[str], out: Collector) -> bool:
    """`.T` is the only thing that may stand behind a dot. True where the whole expression has been reported."""
    if not isinstance(expr, ast.Attribute) or expr.name == "T":
        return False
    base: ast.Expr = expr.base
    while isinstance(base, ast.Attribute):
        base = base.base
    if isinstance(base, ast.Name) and base.id in _MODULES and base.id not in known:
        constant = expr.name in ("pi", "inf")
        hint = f"write `{expr.name}`" + ("" if constant else " alone: every name is declared in the cell, or built in")
        out.error("attribute", "names have no module in front", expr.span, "only `.T` may stand behind a dot", hint=hint)
        return True
    hint = ""
    if expr.name.lower() in ("t", "transpose", "mt", "h"):
        hint = "the transpose is written `.T`"
    elif expr.name in FUNCTIONS:
        hint = f"functions are called by their own names: `{expr.name}(…)`"
    elif expr.name in ("shape", "size", "dim"):
        hint = "sizes are the names in the header"
    out.error("attribute", f"`.{expr.name}` is not part of the language", expr.name_span, "only `.T` may stand behind a dot",
              hint=hint or None)  # fmt: skip
    return False


def check_call(
    call: ast.Call, functions: dict[str, ast.FunctionDef], values: Container[str], out: Collector, states: Container[str] = ()
) -> None:
    """The function exists and gets as many arguments as it takes."""
    name, count = call.function.id, len(call.arguments)
    if name in functions:
        low: int = len(functions[name].parameters)
        high: int | None = low
    elif name in FUNCTIONS:
        low, high = FUNCTIONS[name].arity
    else:
        lag = time_lag(call.arguments)
        if name in states and lag is not None:
            hint: str | None = f"a time stands in square brackets: `{name}[t{f'-{lag}' if lag > 0 else ''}]`"
        elif name == "zeros":
            hint = "write 0, which broadcasts; a state without a value starts at 0"
        elif random := random_value(name):
            hint = random
        elif name in INITIALISERS:
            hint = f"`{name}` stands only behind the `~` of a param or a noise"
        else:
            hint = unknown_function(name, functions, values)
        out.error("unknown-function", f"there is no function `{name}`", call.function.span, "not a function", hint=hint)
        return
    if count < low or (high is not None and count > high):
        takes = counted(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
        related = (Related(functions[name].name.span, "defined here"),) if name in functions else ()
        hint = FUNCTIONS[name].hint if name not in functions else None
        out.error("arity", f"`{name}` takes {takes} argument{'s' * (takes != '1')}", call.span, given(count),
                  related=related, hint=hint)  # fmt: skip
