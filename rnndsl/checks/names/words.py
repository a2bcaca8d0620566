"""How messages spell roles, lists and numbers."""

_ROLE_WORDS = {"hyper": "hyperparameter", "clock": "step number"}


def word_of(role: str) -> str:
    """What a role is called."""
    return _ROLE_WORDS.get(role, role)


def with_article(role: str) -> str:
    """`a param`, `an input`."""
    word = word_of(role)
    if role == "clock":
        return f"the {word}"
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def counted(n: int) -> str:
    """A number of arguments."""
    return str(n) if n else "no"


def given(n: int) -> str:
    """How many arguments a call has."""
    return f"{n or 'none'} given"


def shorten(text: str, limit: int = 40) -> str:
    """The text on one line, cut to `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
