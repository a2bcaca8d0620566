"""`rnndsl completion`: prints the script by which a shell completes commands, options and files."""

from argparse import ArgumentParser, Namespace
from typing import Any

from rnndsl.cli.output import write
from rnndsl.cli.status import Misuse

SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "completion",
        help="print what makes the shell complete commands, options and files",
        description="Prints a script for a shell, made once of the arguments of every command: completing starts no Python. Needs rnndsl[completion].",
        epilog="examples:\n  rnndsl completion bash > ~/.local/share/bash-completion/completions/rnndsl\n"
        '  rnndsl completion zsh > "${fpath[1]}/_rnndsl"\n',
    )
    p.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Prints the script."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise Misuse('completion needs shtab: pip install "rnndsl[completion]"') from None
    for action in (a for command in _parsers(options.main) for a in command._actions):
        if action.dest in ("file", "files", "output", "picture"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    write(shtab.complete(options.main, options.shell) + "\n")
    return 0


def _parsers(main: ArgumentParser) -> list[ArgumentParser]:
    """The parser of every command, however deep."""
    below = [p for a in main._actions if isinstance(a.choices, dict) for p in a.choices.values()]
    return [main, *(inner for p in below for inner in _parsers(p))]
