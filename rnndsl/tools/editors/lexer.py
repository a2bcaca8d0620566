"""The Pygments lexer of the language; Pygments finds it by its entry point, under the name `rnn` and for `*.rnn`."""

import re
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Whitespace

from rnndsl.tools.editors import words
from rnndsl.tools.editors.words import NAME, NUMBER, OPERATOR, one_of


class RnnLexer(RegexLexer):
    """Recurrent cells in the language of rnndsl."""

    name = "rnn"
    aliases: ClassVar = ["rnn", "rnndsl"]
    filenames: ClassVar = ["*.rnn"]
    mimetypes: ClassVar = ["text/x-rnn"]

    tokens: ClassVar = {
        "root": [
            (r"\s+", Whitespace),
            (r"#.*", Comment.Single),
            (r'"""(?:.|\n)*?"""|"[^"\n]*"', String.Doc),
            (rf"(cell)([ \t]+)({NAME})", bygroups(Keyword.Declaration, Whitespace, Name.Class)),
            (rf"(def)([ \t]+)({NAME})", bygroups(Keyword.Declaration, Whitespace, Name.Function)),
            (rf"(~)([ \t]*)({one_of(words.DRAWS)})", bygroups(Operator, Whitespace, Name.Builtin)),
            (one_of(words.ITEMS), Keyword.Declaration),
            (one_of(words.OPENERS), Keyword),
            (one_of(words.MODIFIERS), Keyword),
            (one_of(words.CONSTANTS), Keyword.Constant),
            (one_of(words.FUNCTIONS), Name.Builtin),
            (one_of((words.TIME,)), Name.Builtin.Pseudo),
            (rf"({NAME})(?=\s*\()", Name.Function),
            (NAME, Name),
            (rf"(\.)({NAME})", bygroups(Punctuation, Name.Attribute)),
            (NUMBER, Number),
            (OPERATOR, Operator),
            (r"[()\[\],:;]", Punctuation),
        ]
    }

    def analyse_text(text: str) -> float:
        # Pygments makes it a static method
        return 0.3 if re.search(rf"^\s*cell[ \t]+{NAME}[ \t]*\(.*\)[ \t]*:", text, re.M) else 0.0
