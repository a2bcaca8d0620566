"""The files of grammar/vscode: a TextMate grammar, which other editors read too, and what makes a VS Code extension of it.

`pytest tests/test_editors.py --accept` writes them anew; that test fails where they are not what this module makes.
"""

import json
from typing import Any

from rnndsl.resources import resource_folder
from rnndsl.tools.editors import words
from rnndsl.tools.editors.words import NAME, NUMBER, OPERATOR, one_of
from rnndsl.version import VERSION


def vscode_files() -> dict[str, str]:
    """The text of each generated file, by its path in grammar/vscode."""
    made = {
        "syntaxes/rnn.tmLanguage.json": textmate(),
        "language-configuration.json": language_configuration(),
        "package.json": package(),
    }
    found = {path: json.dumps(data, indent=2, ensure_ascii=False) + "\n" for path, data in made.items()}
    licence = resource_folder("LICENSE")  # a package of VS Code's holds its own
    return found | ({"LICENSE": licence.read_text(encoding="utf-8")} if licence.is_file() else {})


def _match(pattern: str, scope: str) -> dict[str, Any]:
    return {"match": pattern, "name": f"{scope}.rnn"}


def _parts(pattern: str, *scopes: str) -> dict[str, Any]:
    """A pattern whose groups are set each by itself."""
    return {"match": pattern, "captures": {str(i): {"name": f"{scope}.rnn"} for i, scope in enumerate(scopes, 1)}}


def textmate() -> dict[str, Any]:
    """The TextMate grammar."""
    docstring = {"begin": '"""', "end": '"""', "name": "string.quoted.docstring.rnn"}
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "rnn",
        "scopeName": "source.rnn",
        "fileTypes": ["rnn"],
        "patterns": [
            _match("#.*$", "comment.line.number-sign"),
            docstring,
            _match('"[^"]*"', "string.quoted.docstring"),
            _parts(rf"({one_of(('cell',))})[ \t]+({NAME})", "storage.type", "entity.name.type"),
            _parts(rf"({one_of(('def',))})[ \t]+({NAME})", "storage.type", "entity.name.function"),
            _parts(rf"(~)[ \t]*({one_of(words.DRAWS)})", "keyword.operator", "support.function"),
            _match(one_of(words.ITEMS), "storage.type"),
            _match(one_of((*words.OPENERS, *words.MODIFIERS)), "keyword.control"),
            _match(one_of(words.CONSTANTS), "constant.language"),
            _match(one_of(words.FUNCTIONS), "support.function"),
            _match(one_of((words.TIME,)), "variable.language"),
            _match(rf"{NAME}(?=[ \t]*\()", "entity.name.function"),
            _match(NAME, "variable.other"),
            _parts(rf"(\.)({NAME})", "punctuation.accessor", "variable.other.property"),
            _match(NUMBER, "constant.numeric"),
            _match(OPERATOR, "keyword.operator"),
            _match(r"[,:;]", "punctuation.separator"),
        ],
    }


def language_configuration() -> dict[str, Any]:
    """Comments, brackets and indentation, for VS Code."""
    pairs = [["(", ")"], ["[", "]"]]
    return {
        "comments": {"lineComment": "#"},
        "brackets": pairs,
        "autoClosingPairs": [*({"open": a, "close": b} for a, b in pairs), {"open": '"', "close": '"', "notIn": ["string", "comment"]}],
        "surroundingPairs": [*pairs, ['"', '"']],
        "wordPattern": {"pattern": r"[\p{L}\p{Nl}_][\p{L}\p{N}\p{Pc}\p{Mn}]*", "flags": "u"},
        "indentationRules": {
            "increaseIndentPattern": r"^\s*(cell|repeat)\b.*:\s*(#.*)?$",
            "decreaseIndentPattern": rf"^\s*(end|{'|'.join(words.ITEMS)})\b.*$",
        },
        "folding": {"offSide": True},
    }


def package() -> dict[str, Any]:
    """The extension's manifest."""
    server = {
        "type": "array",
        "items": {"type": "string"},
        "default": ["rnndsl", "lsp"],
        "description": 'The command of the language server. A Python of your own: ["/path/to/python", "-m", "rnndsl", "lsp"].',
    }
    return {
        "name": "rnndsl",
        "displayName": "rnndsl",
        "description": "Recurrent cells (.rnn): highlighting, and what rnndsl says of them as you type.",
        "version": VERSION,
        "publisher": "rnndsl",
        "license": "Apache-2.0",
        "icon": "icon.png",
        "keywords": ["recurrent neural network", "pytorch", "dsl"],
        "engines": {"vscode": "^1.82.0"},
        "categories": ["Programming Languages", "Formatters", "Linters"],
        "main": "./extension.js",
        "dependencies": {"vscode-languageclient": "^9.0.1"},
        "contributes": {
            "languages": [
                {"id": "rnn", "aliases": ["rnn", "rnndsl"], "extensions": [".rnn"], "configuration": "./language-configuration.json"}
            ],
            "grammars": [{"language": "rnn", "scopeName": "source.rnn", "path": "./syntaxes/rnn.tmLanguage.json"}],
            "configuration": {"title": "rnndsl", "properties": {"rnndsl.server": server}},
            "configurationDefaults": {"[rnn]": {"editor.tabSize": 2, "editor.insertSpaces": True}},
        },
    }
