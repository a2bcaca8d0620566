"""Names of the language in LaTeX: `W_z` as W_{z}, `beta` as \\beta, `gain` as \\mathit{gain}; two names never look the same."""

import re
import unicodedata

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()
_ACCENTS = {"GRAVE": "`", "ACUTE": "'", "CIRCUMFLEX": "^", "TILDE": "~", "DIAERESIS": '"'}


class LatexNames:
    """Gives each name its LaTeX, and a second one of the same look a spelt-out form."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._given:
            pretty = _pretty(name)
            taken = pretty in self._given.values()
            self._given[name] = _spelt(name) if taken else pretty
        return self._given[name]

    def at(self, name: str, time: str) -> str:
        """A name with a time index, h_{t-1}; it joins the subscript that the name has."""
        base = self(name)
        if base.endswith("}") and "_{" in base:
            return f"{base[:-1]},\\,{time}}}"
        return f"{base}_{{{time}}}"


def _spelt(name: str) -> str:
    letters = "".join(r"\_" if c == "_" else _letter(c) if not c.isascii() else c for c in name)
    return f"\\mathit{{{letters}}}"


def _pretty(name: str) -> str:
    parts = [p for p in name.split("_") if p]
    if not parts:
        return _spelt(name)
    if len(parts) == 1 and (numbered := re.fullmatch(r"([^\W\d_]+)(\d+)", parts[0])):
        return f"{_word(numbered[1])}_{{{numbered[2]}}}"
    head, *rest = parts
    if head[0].isdigit():
        return _spelt(name)
    return _word(head) + (f"_{{{','.join(_word(r) for r in rest)}}}" if rest else "")


def _word(word: str) -> str:
    if word in _GREEK:
        return f"\\{word}"
    if word.isdigit():
        return word
    if len(word) == 1:
        return _letter(word)
    return f"\\mathit{{{''.join(_letter(c) for c in word)}}}"


def _letter(c: str) -> str:
    """One character that pdflatex can set."""
    if c.isascii():
        return c
    name = unicodedata.name(c, "")
    if m := re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (FINAL )?(\w+)", name):
        greek = m[3].lower().replace("lamda", "lambda")
        greek = greek if m[1] == "SMALL" else greek.capitalize()
        if greek in _GREEK:
            return f"\\{'var' if m[2] else ''}{greek} ".rstrip() + "{}"
        return greek[0]
    plain = unicodedata.normalize("NFD", c)
    if plain[0].isascii() and plain[0].isalpha():
        accent = next((a for word, a in _ACCENTS.items() if word in name), None)
        return f"\\text{{\\{accent}{{{plain[0]}}}}}" if accent else plain[0]
    return f"\\text{{U+{ord(c):04X}}}"
