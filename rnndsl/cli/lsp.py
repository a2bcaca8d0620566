"""`rnndsl lsp`: serves an editor."""

import sys
from argparse import Namespace
from typing import Any

from rnndsl.cli.output import complain
from rnndsl.cli.status import Misuse


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "lsp",
        help="serve an editor: errors as you type, hovers, definitions, renaming, fixes, completions",
        description="Speaks the language server protocol on standard input and output; an editor starts it. Needs rnndsl[lsp].\n"
        "docs/editors.md says how to set up yours.",
        epilog="example:\n  rnndsl lsp      the command to give your editor for .rnn files\n",
    )
    p.add_argument("--stdio", action="store_true", help="what it does anyway; some editors add it")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Serves until the editor ends it."""
    try:
        from rnndsl.tools.lsp.server import serve
    except ModuleNotFoundError as e:
        if (e.name or "").split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise Misuse('the language server needs pygls 2: pip install "rnndsl[lsp]"') from None
    if sys.stdin.isatty():
        complain("lsp waits for an editor to speak to it; Ctrl-D ends it")
    serve()
    return 0
