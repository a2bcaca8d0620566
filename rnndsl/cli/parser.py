"""The arguments of every command. A command is a file here, with `add`, which adds its parser, and `run`, which returns the exit status.

Every file is imported for every command: what takes time is imported by its `run`.
"""

import argparse
import sys
from typing import Any

from rnndsl.cli import bench, cache, check, compile, explain, export, fmt, lsp, new, tune, verify
from rnndsl.version import VERSION

COMMANDS = (compile, check, fmt, explain, verify, bench, tune, export, new, lsp, cache)  # in the order of --help


class _Parser(argparse.ArgumentParser):
    """Descriptions and examples keep their lines."""

    def __init__(self, **options: Any):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Prints help; argparse itself says nothing where that fails."""
        (file or sys.stderr).write(message)


def parser() -> argparse.ArgumentParser:
    """Reads the arguments of every command; what it returns has the command's `run`."""
    main = _Parser(
        prog="rnndsl",
        description="Write the equations of a recurrent cell; get a PyTorch layer.",
        epilog="examples:\n  rnndsl new my_cell            writes my_cell.rnn, a cell to start from\n"
        "  rnndsl check my_cell.rnn      says what is wrong with it\n"
        "  rnndsl fmt my_cell.rnn        puts it in the canonical style\n"
        "  rnndsl compile my_cell.rnn    writes my_cell.py; then: from my_cell import MyCell\n"
        "  rnndsl explain my_cell.rnn    shows what the compiler finds in it\n"
        "  rnndsl verify my_cell.rnn     says whether its layers are right here\n"
        "  rnndsl bench my_cell.rnn      says how fast it is here\n"
        "  rnndsl tune my_cell.rnn --shape 8,4096    looks for the fastest kernels on this GPU\n"
        "  rnndsl export my_cell.rnn --c -o src --size D=3 H=16      writes it as a C header\n",
    )
    main.add_argument("--version", action="version", version=f"rnndsl {VERSION}")
    commands = main.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return main
