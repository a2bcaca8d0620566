"""`rnndsl verify` from its arguments to what it prints."""

import json
from argparse import Namespace

from rnndsl.cli import INTERRUPTED
from rnndsl.diagnostics import Source
from rnndsl.tools.verify.settings import parse


def verify(options: Namespace, source: Source) -> int:
    """Verifies and prints; returns the exit status. Raises Unfit for arguments that do not fit, RnnError for a wrong program."""
    settings = parse(options)
    from rnndsl.tools.bench.progress import Progress
    from rnndsl.tools.verify.run import verify as run

    progress = Progress()
    try:
        report = run(source, options.cell, settings, progress)
    finally:
        progress.clear()
    print(json.dumps(report.data, indent=1) if options.json else report.text)
    return INTERRUPTED if report.interrupted else int(not report.passed)
