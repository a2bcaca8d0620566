"""`rnndsl check`: says what is wrong with programs."""

from argparse import Namespace
from typing import Any

from rnndsl.cli.programs import checked, each, take_file


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "check",
        help="say what is wrong with programs",
        description="Prints every error and warning; nothing where there is none. Exits with 1 if there is an error, with 2 for a\n"
        "file that cannot be read.",
        epilog="examples:\n  rnndsl check *.rnn\n  rnndsl check --json gru.rnn\n  cat gru.rnn | rnndsl check -\n",
    )
    take_file(p, several=True)
    p.add_argument("--json", action="store_true", help="print diagnostics as JSON on standard output")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Checks each program."""
    return each(options, checked, lambda name, result: None)
