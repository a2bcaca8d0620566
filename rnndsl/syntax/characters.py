"""Messages for characters that begin no token, and for words that are no names."""

import re
import unicodedata

from lark import Token

from rnndsl.diagnostics import Collector, Span
from rnndsl.syntax.mistakes import authored_file
from rnndsl.syntax.tree import token_span


def _called(char: str) -> str:
    """`a minus sign`'s Unicode name in small letters, or its number."""
    name = unicodedata.name(char, "")
    return name.lower() if name else f"U+{ord(char):04X}"


_HIDING = re.compile("[\u0085\u2028\u2029\u202a-\u202e\u2066-\u2069]")  # breaks of lines that are none here, and what turns the order of text about


def report_hiding(out: Collector) -> None:
    """Reports what makes a program look other than it is read, in comments and docstrings too: one in each line."""
    told: set[int] = set()
    for found in _HIDING.finditer(out.source.text):
        at, line = found.start(), out.source.line_of(found.start())
        if line not in told:
            told.add(line)
            out.error("character", f"an unprintable character ({_called(found[0])}) makes this line look other than it is read", Span(at, at + 1),
                      "hides here", hint="delete it")  # fmt: skip


_DECLARED = re.compile(r"\s*((?:input|state|param|const|noise) [^:]*:\s*(?:complex )?)")
_QUOTES = "\"'“”‘«„"  # what prose may begin with


def report_character(text: str, at: int, out: Collector) -> int:
    """Reports a character that begins no token; returns where reading goes on."""
    char = text[at]
    hint = authored_file()["characters"].get(char)
    line_end = text.find("\n", at)
    line_end = len(text) if line_end < 0 else line_end
    behind_name = at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_]")
    if char in "'’′" and behind_name:
        start = at
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        word = text[start:at] or "h"
        meant = f"a transpose is written `{word}.T`" if word[0].isupper() else f"write the new value of a state as `{word}[t]`, the old one as `{word}[t-1]`"
        out.error("prime", f"`{text[start:at]}{char}` is not a name", Span(start, at + 1), "a prime is not part of a name",
                  hint=meant)  # fmt: skip
        return at + 1
    if char == '"' and (text[max(at - 2, 0) : at] == '""' or text[at : at + 3] == '"""'):
        start = at - 2 if text[at : at + 3] != '"""' else at
        out.error("unclosed-string", "this docstring is never closed", Span(start, start + 3), "no `\"\"\"` follows",
                  hint='put `"""` behind its last line')  # fmt: skip
        return len(text)
    if char == '"':
        out.error("unclosed-string", "this text is never closed", Span(at, line_end), 'no `"` follows on this line',
                  hint='a docstring is `"text"` on one line, or `"""text"""` over several')  # fmt: skip
        return line_end
    if char in _QUOTES:
        out.error("character", f"`{char}` ({_called(char)}) begins no text", Span(at, at + 1), "not part of the language",
                  hint='quotes are plain and double: `"text"`')  # fmt: skip
        return line_end
    line_start = text.rfind("\n", 0, at) + 1
    told = {out.source.text[d.span.start] for d in out.found if d.code == "character" and line_start <= d.span.start < at}
    if char == "{" and (behind_name or text[at - 1 : at] == "^"):
        hint = "a time stands in square brackets, as in `h[t-1]`"
    elif char == "{" and (declared := _DECLARED.fullmatch(text[line_start:at])):
        sizes = text[at + 1 : line_end].partition("}")[0].strip()
        hint = f"a shape stands in square brackets: `{declared[1]}[{sizes}]`"
    if char not in told and not (told & {"{"} and char == "}"):  # a character is told once a line
        shown = f"`{char}`" if char.isprintable() and not unicodedata.combining(char) else "an unprintable character"
        out.error("character", f"{shown} ({_called(char)}) has no meaning here", Span(at, at + 1), "not part of the language",
                  hint=hint)  # fmt: skip
    if char == "\\" and not text[at + 1 : line_end].strip():
        return line_end + 1  # it was meant to join two lines: so be it
    return at + 1


def report_name(token: Token, out: Collector) -> None:
    """Reports a word that is not an identifier."""
    bad = next((c for c in token if not ("a" + c).isidentifier()), token[0])
    hint = authored_file()["characters"].get(bad)
    plain = unicodedata.normalize("NFKC", str(token))
    if "SUBSCRIPT" in unicodedata.name(bad, "") and plain.isidentifier():
        hint = f"write `{plain}`"
    out.error("character", f"`{token}` is not a name", token_span(token), f"`{bad}` ({_called(bad)}) cannot be part of a name",
              hint=hint)  # fmt: skip
