"""The blanks between the tokens of a statement, in the canonical style."""

from lark import Token

_TIGHT = {
    "index": frozenset(("^", "**", "+", "-", "*", "/", "@")),  # h[t-1], W[k+1]
    "shape": frozenset(("^", "**", "*", "/")),  # [4*H, D + 1]
    "": frozenset(("^", "**")),
}
_VALUES = frozenset(("NAME", "NUMBER", "INF", "PI", "ATTRIBUTE"))  # and closing brackets: what may stand before a binary operator


def spaced(tokens: list[Token]) -> list[bool]:
    """For each token of one statement, whether a blank stands before it; the first has none."""
    found: list[bool] = []
    places: list[str] = []  # of the brackets that are open: index, shape, or for ( ) what is around them
    before: Token | None = None
    sign = False  # whether `before` is a sign: an operator with nothing on its left
    for token in tokens:
        place = places[-1] if places else ""
        found.append(before is not None and not sign and _apart(before, token, place))
        sign = token in ("+", "-") and not _ends_value(before)
        if token == "(":
            places.append(place)
        elif token == "[":
            places.append("index" if before is not None and before.type == "NAME" else "shape")
        elif token in (")", "]"):
            places.pop()
        before = token
    return found


def _ends_value(token: Token | None) -> bool:
    return token is not None and (token.type in _VALUES or token in (")", "]"))


def _apart(before: Token, token: Token, place: str) -> bool:
    """Whether a blank stands between two tokens, the first of which is no sign."""
    if before in ("(", "[") or token in (")", "]", ",", ";", ":"):
        return False
    if token == "..":
        return before.endswith(".")  # the dots of `1. ..2` would become part of the number
    if before == "..":
        return token.startswith(".")
    if before in _TIGHT[place] or (token in _TIGHT[place] and _ends_value(before)):
        return False
    if token in ("(", "["):
        return before.type != "NAME"  # f(x), h[t]; but `= (x)`, `: [H]`
    if token.type == "ATTRIBUTE":
        return before.type == "NUMBER"  # `2.T` would begin with the number `2.`
    return True
