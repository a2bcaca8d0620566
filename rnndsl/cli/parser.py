"""The arguments of every command. A command is a file here, with `add`, which adds its parser, and `run`, which returns the exit status.

Every file is imported for every command: what takes time is imported by its `run`.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rnndsl.cli import (
    bench,
    cache,
    check,
    compile,
    completion,
    explain,
    explore,
    export,
    fmt,
    lsp,
    new,
    tune,
    verify,
    zoo,
)
from rnndsl.cli.status import MISUSE
from rnndsl.cli.terminal import width
from rnndsl.version import VERSION

MAY_BE_EMPTY = ("backends", "against")  # of bench, where no names mean none of them

COMMANDS = (compile, check, fmt, explain, verify, bench, tune, explore, export, new, zoo, completion, lsp, cache)  # in the order of --help


class _Parser(argparse.ArgumentParser):
    """Descriptions fill the terminal, examples keep their lines, and what is misspelt is told what it may be."""

    def __init__(self, **options: Any):
        super().__init__(formatter_class=_Help, **options)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints help; argparse itself says nothing where that fails."""
        (file or sys.stderr).write(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        what = (action.metavar if isinstance(action.metavar, str) else action.dest or "").lower()
        hint = _meant(str(value), action.choices) or f"; there is {', '.join(map(str, action.choices))}"
        if action.choices is self._commands and (str(value).endswith(".rnn") or Path(str(value)).is_file()):
            hint = f"; a command stands before the file, as in: rnndsl compile {value}"
        raise argparse.ArgumentError(None, f"there is no {what} `{value}`{hint}")

    _commands: dict[str, "_Parser"] | None = None  # of the main parser

    def parse_args(self, arguments: Any = None, namespace: Any = None) -> Any:
        """Refuses what no command understands, with the usage of the command that was given it; without any arguments, with all of the help."""
        if self._commands and not (sys.argv[1:] if arguments is None else arguments):
            self.print_help(sys.stderr)
            self.exit(MISUSE)
        options, unknown = self.parse_known_args(arguments, namespace)
        command = (self._commands or {}).get(getattr(options, "command", ""), self)
        if unknown:
            flag = unknown[0].partition("=")[0]
            command.error(f"there is no argument `{unknown[0]}`{_meant(flag, command._option_string_actions)}")
        for action in command._actions:  # what a script left empty is not what nobody gave
            value = getattr(options, action.dest, None)
            if action.dest not in MAY_BE_EMPTY and value != action.default and (value == "" or (isinstance(value, list) and "" in value)):
                command.error(f"argument {'/'.join(action.option_strings) or action.metavar}: it is empty")
        return options


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; a text with indented lines is one of examples, and stays as it is."""

    def __init__(self, prog: str):
        super().__init__(prog, width=width(sys.stdout) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n  " in text:
            return super()._fill_text(text, width, indent)
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _meant(word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def parser() -> argparse.ArgumentParser:
    """Reads the arguments of every command; what it returns has the command's `run`."""
    main = _Parser(
        prog="rnndsl",
        description="Write the equations of a recurrent cell; get a PyTorch layer.",
        epilog="examples:\n  rnndsl new my_cell            writes my_cell.rnn, a cell to start from\n"
        "  rnndsl zoo copy GRU           writes gru.rnn, a published cell to start from\n"
        "  rnndsl check my_cell.rnn      says what is wrong with it\n"
        "  rnndsl fmt my_cell.rnn        puts it in the canonical style\n"
        "  rnndsl compile my_cell.rnn    writes my_cell.py; then: from my_cell import MyCell\n"
        "  rnndsl explain my_cell.rnn    shows what the compiler finds in it\n"
        "  rnndsl verify my_cell.rnn     says whether its layers are right here\n"
        "  rnndsl bench my_cell.rnn      says how fast it is here\n"
        "  rnndsl tune my_cell.rnn --shape 8,4096    looks for the fastest kernels on this GPU\n"
        "  rnndsl explore my_cell.rnn GRU --task parity,mqar       trains it, and says what it has learned\n"
        "  rnndsl export my_cell.rnn --c -o src --size D=3 H=16      writes it as a C header\n",
    )
    main.set_defaults(main=main)
    main.add_argument("--version", action="version", version=f"rnndsl {VERSION}")
    commands = main.add_subparsers(metavar="COMMAND", dest="command", required=True)
    main._commands = commands.choices
    for command in COMMANDS:
        command.add(commands)
    return main
