"""What the writer of an unknown name may have meant."""

import re
import unicodedata
from collections.abc import Container, Iterable

from rnndsl.functions import FUNCTIONS
from rnndsl.functions.synonyms import nearest_builtin_hint

# Letters of other scripts that look Latin.
_LOOKALIKES = dict(
    zip(
        "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορυχАВЕКМНОРСТХасеорухіјѕ",
        "ABEZHIKMNOPTYXavopuxABEKMHOPCTXaceopyxijs",
        strict=True,
    )
)


_MAX_KNOWN = 300  # names among which a similar one is looked for


def latin(name: str) -> str:
    """The name with letters that only look Latin replaced by Latin ones."""
    return "".join(_LOOKALIKES.get(c, c) for c in name)


def describe(char: str) -> str:
    """`Greek capital letter eta`, for a message."""
    return unicodedata.name(char, f"U+{ord(char):04X}").capitalize()


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None."""
    known = list(known)[:_MAX_KNOWN]
    for candidate in known:
        if candidate.casefold() == name.casefold() and candidate != name:
            return candidate
    from difflib import get_close_matches  # only a wrong program pays for it

    found = get_close_matches(name, known, n=1, cutoff=0.65)
    return found[0] if found else None


def lookalike(name: str, known: Iterable[str]) -> str | None:
    """A hint for a name that looks like a known one and is spelt with letters of another script."""
    if name.isascii() and all(candidate.isascii() for candidate in known):
        return None
    for candidate in known:
        if candidate != name and latin(candidate) == latin(name):
            odd = next((c for c in name if c in _LOOKALIKES), None)
            if odd:
                return f"did you mean `{candidate}`? The `{odd}` here is a {describe(odd)}"
            odd = next(c for c in candidate if c in _LOOKALIKES)
            return f"did you mean `{candidate}`, which is declared with a {describe(odd)}?"
    return None


def unknown_value(name: str, known: Iterable[str], states: Iterable[str]) -> str | None:
    """A hint for a name that nothing declares."""
    known, states = list(known)[:_MAX_KNOWN], list(states)[:_MAX_KNOWN]
    odd = lookalike(name, known)
    if odd:
        return odd
    for state in states:
        old = [f"{state}{tail}" for tail in ("_prev", "_old", "_last", "_tm1", "_t1", "_", "0")] + [f"prev_{state}"]
        if name in (f"{state}_t", f"{state}t", f"{state}_new", f"new_{state}", f"{state}_next"):
            return f"the new value of the state `{state}` is written `{state}[t]`"
        if name in old:
            return f"the old value of the state `{state}` is written `{state}[t-1]`"
    if name.endswith("_t") and name[:-2] in known:
        return f"did you mean `{name[:-2]}`? an input or local of this step is written without an index"
    near = closest(name, known)
    if near:
        return f"did you mean {as_read(near, states)}?"
    if name == "T":
        return "a transpose is written `W.T`"
    if name in FUNCTIONS:
        return f"`{name}` is a function: write `{name}(…)`"
    if name in ("e", "E"):
        return "the exponential is written exp(x)"
    if name in ("True", "False", "true", "false"):
        return "write 1 or 0"
    if name in ("None", "nan", "NaN"):
        return "there is no such constant; the constants are numbers, `inf` and `pi`"
    return nearest_builtin_hint(name)


def as_read(name: str, states: Iterable[str]) -> str:
    """How a name is written in an equation: a state always with its time."""
    return f"the state `{name}[t-1]` or `{name}[t]`" if name in set(states) else f"`{name}`"


_OUTER_AXES = re.compile(r"(?i)b|bs|nb|n?_?batch(_?size)?|batch_?\d*|t|l|tt|time(_?steps?)?|n?_?steps|seq(_?len(gth)?)?|sequence(_length)?|length|len")


def is_outer_axis(size: str) -> bool:
    """Whether a size is called as people call the axes of sequences and of their steps, which no shape has."""
    return _OUTER_AXES.fullmatch(size) is not None


_DROPPING = ("dropout", "dropconnect", "zoneout", "mask", "bernoulli", "droppath", "drop", "variational_dropout", "alpha_dropout")
_DRAWING = {
    "normal": "normal(0, 1)", "gaussian": "normal(0, 1)", "gauss": "normal(0, 1)", "randn": "normal(0, 1)", "randn_like": "normal(0, 1)",
    "noise": "normal(0, 1)", "uniform": "uniform(0, 1)", "rand": "uniform(0, 1)", "random": "uniform(0, 1)", "rand_like": "uniform(0, 1)",
}  # fmt: skip


def random_value(name: str) -> str | None:
    """A hint for a call that draws a random value, which is declared and not called."""
    plain = name.lower()
    if plain in _DROPPING:
        return "what is random is declared: `noise m: [H] ~ bernoulli(0.9)`, then `m * …`; in evaluation `m` is its mean, 0.9"
    if plain in _DRAWING:
        return f"what is random is declared: `noise e: [H] ~ {_DRAWING[plain]}`, then read as `e`; in evaluation it is its mean"
    return None


def unknown_function(name: str, functions: Iterable[str], values: Container[str]) -> str | None:
    """A hint for a call of something that is no function."""
    if name in values:
        return f"`{name}` is a value: a product is written `{name} * (…)` or `{name} @ (…)`"
    direct = nearest_builtin_hint(name)
    if direct:
        return direct
    near = closest(name, [*functions, *FUNCTIONS])
    return f"did you mean `{near}`?" if near else "functions are built in, or defined with `def f(z) = …`"
