"""`rnndsl fmt`: puts programs in the canonical style; files are rewritten at once or not at all."""

import errno
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnndsl.cli.output import Found, failed, write
from rnndsl.cli.programs import each, read_bytes
from rnndsl.cli.status import ERRORS, Misuse
from rnndsl.files import write_whole
from rnndsl.reading import decode


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "fmt",
        help="put programs in the canonical style",
        description="Rewrites programs in the canonical style and names those that changed. Only blanks and line ends change, never the\n"
        "meaning; comments stay where they are. A program with a syntax error is reported and left alone. Exits with 1 if there was\n"
        "one, with 2 for a file that cannot be read or written. docs/editors.md states the style.",
        epilog="examples:\n  rnndsl fmt *.rnn\n  rnndsl fmt --check *.rnn     changes nothing; exits with 1 if a file is in another style\n"
        "  rnndsl fmt --diff gru.rnn    shows what would change\n  cat gru.rnn | rnndsl fmt -\n",
    )
    p.add_argument("files", nargs="+", metavar="FILE", help="a .rnn file, or - for standard input, formatted to standard output")
    p.add_argument("--check", action="store_true", help="write nothing; name the files that would change, and exit with 1 if there are any")
    p.add_argument("--diff", action="store_true", help="write nothing; print what would change as a diff")
    p.set_defaults(run=run, json=False)


def run(options: Namespace) -> int:
    """Formats each program."""
    changed: list[str] = []

    def read(name: str) -> "tuple[Formatted, list[Found]]":
        return format_bytes(read_bytes(name), "<stdin>" if name == "-" else name), []

    def act(name: str, result: Formatted) -> None:
        if result.changed:
            changed.append(name)
        if options.diff:
            write(result.diff())
        elif options.check:
            write(f"would format {result.name}\n" if result.changed else "")
        elif name == "-":
            write(result.after.decode())
        elif result.changed:
            try:
                replace_file(Path(name), result.after)
            except OSError as e:
                raise Misuse(failed(name, e)) from None
            print(f"formatted {name}")

    status = each(options, read, act)
    return status or (ERRORS if options.check and changed else 0)


@dataclass(frozen=True)
class Formatted:
    """A file's bytes as they are and in the canonical style; its first line decides between `\\n` and `\\r\\n`."""

    name: str
    before: bytes
    after: bytes

    @property
    def changed(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """The change as a unified diff."""
        import difflib

        old, new = ([f"{line}\n" for line in text.decode().split("\n")] for text in (self.before, self.after))
        for lines in (old, new):
            last = lines.pop().removesuffix("\n")
            if last:
                lines.append(f"{last}\n\\ No newline at end of file\n")
        return "".join(difflib.unified_diff(old, new, self.name, self.name))


def format_bytes(data: bytes, name: str) -> Formatted:
    """Formats what a file holds. Raises RnnError for syntax errors and for bytes that are no text."""
    from rnndsl.syntax.formatter import formatted

    text = formatted(decode(data, name))
    head = data.partition(b"\n")[0]
    return Formatted(name, data, (text.replace("\n", "\r\n") if head.endswith(b"\r") else text).encode())


def replace_file(path: Path, data: bytes) -> None:
    """Gives a file new content, all of it or none; its mode stays, and a link to it. Raises OSError."""
    if not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    write_whole(path, data)
