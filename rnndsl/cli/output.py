"""What commands print: diagnostics, complaints, text whatever the terminal's encoding."""

import json
import sys
from collections.abc import Iterable

from rnndsl.cli.status import JSON_VERSION
from rnndsl.cli.terminal import has_colour, width
from rnndsl.diagnostics import Diagnostic, Source
from rnndsl.report import WINDOW, as_data, render

Found = tuple[Diagnostic, Source]


def complain(problem: object) -> None:
    """Says what is wrong with a command."""
    print(f"rnndsl: {problem}", file=sys.stderr)


def failed(what: object, problem: OSError) -> str:
    """What the system says of a file."""
    return f"{what}: {(problem.strerror or str(problem)).lower()}"


def shown(name: str, found: Iterable[Diagnostic], text: str) -> list[Found]:
    """Diagnostics under the name that the command line gave the program."""
    source = Source("<stdin>" if name == "-" else name, text)
    return [(d, source) for d in found]


def report(found: list[Found], as_json: bool) -> None:
    """Prints diagnostics: text on standard error, JSON on standard output."""
    if as_json:
        data = {"version": JSON_VERSION, "diagnostics": [as_data(d, s) for d, s in found]}
        print(json.dumps(data, indent=2))
        return
    for diagnostic, source in found:
        print(render(diagnostic, source, has_colour(sys.stderr), width(sys.stderr, WINDOW)), end="\n\n", file=sys.stderr)
    errors = sum(d.severity == "error" for d, _ in found)
    if errors:
        print(f"{errors} error{'s' * (errors != 1)}", file=sys.stderr)


def write(text: str) -> None:
    """Prints text in UTF-8 whatever the terminal's encoding, as Python expects its files."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
