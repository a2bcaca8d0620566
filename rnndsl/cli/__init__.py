"""The command line as a process: the one ladder from what went wrong to what is said and the exit status. A command is a file of this folder.

Nothing here imports anything that takes time: Ctrl-C is understood from the first moment on.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress

from rnndsl.cli.status import ERRORS, INTERRUPTED, JSON_VERSION, MISUSE, Misuse
from rnndsl.cli.streams import open_streams, silence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, 1 for errors in a program, 2 for misuse, 130 after Ctrl-C."""
    open_streams()
    program = ""
    try:
        try:
            from rnndsl.cli.parser import parser

            options = parser().parse_args(arguments)
            program = getattr(options, "file", "")
            return options.run(options)
        except Exception as problem:
            return _told(problem, program)
        finally:
            if not sys.stdout.closed:  # as the language server does
                sys.stdout.flush()  # what cannot be written is told below, not when Python ends
    except KeyboardInterrupt:
        return _ended("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read it has read enough
        silence()
        return ERRORS
    except OSError as e:
        return _ended(f"{e.filename or 'standard output'}: {(e.strerror or str(e)).lower()}", MISUSE)
    except MemoryError:
        return _ended("there is not enough memory for this", MISUSE)


def _told(problem: Exception, program: str) -> int:
    """Says what is wrong with a program, with the arguments or with a file. Raises every other problem again."""
    from rnndsl.cli.output import complain, failed, report, shown
    from rnndsl.diagnostics import RnnError
    from rnndsl.tools import NoMatplotlib, Unfit

    match problem:
        case RnnError():
            report(shown(program or problem.source.name, problem.diagnostics, problem.source.text), as_json=False)
            return ERRORS
        case Misuse() | Unfit() | NoMatplotlib():
            complain(problem)
            return MISUSE
        case OSError() if problem.filename:
            complain(failed(problem.filename, problem))
            return MISUSE
    raise problem


def _ended(why: str, status: int) -> int:
    silence()
    with suppress(OSError, ValueError):
        print(f"rnndsl: {why}", file=sys.stderr, flush=True)
    return status


__all__ = ["INTERRUPTED", "JSON_VERSION", "MISUSE", "main"]
