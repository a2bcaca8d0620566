"""`rnndsl cache`: lists the built kernels, or removes them."""

import json
from argparse import Namespace
from typing import Any

from rnndsl.cli.output import write
from rnndsl.cli.status import JSON_VERSION, Misuse


def add(commands: Any) -> None:
    """Adds the command's parser."""
    p = commands.add_parser(
        "cache",
        help="list the built kernels, or remove them",
        description="Lists the kernels that were built and are kept for the next time. docs/cpu.md says where. What rnndsl tune measured\n"
        "lies there too, in tuned.json, but is not built again by itself: --clear leaves it.",
        epilog="examples:\n  rnndsl cache\n  rnndsl cache --clear      they are built again when they are needed\n",
    )
    p.add_argument("--clear", action="store_true", help="remove the kernels, and nothing that was measured")
    p.add_argument("--json", action="store_true", help="print plain data")
    p.set_defaults(run=run)


def run(options: Namespace) -> int:
    """Lists or clears the folder."""
    from rnndsl.cache_folder import cache_folder
    from rnndsl.cli.cache_entries import as_data, clear, entries, listing, summary

    try:
        folder = cache_folder()
        found = clear(folder) if options.clear else entries(folder)
    except OSError as e:
        raise Misuse(f"{e.filename}: {(e.strerror or str(e)).lower()}" if e.filename else e) from None
    if options.json:
        print(json.dumps({"version": JSON_VERSION, "cleared": options.clear, **as_data(folder, found)}, indent=2))
    elif options.clear:
        print(f"removed {summary(found)} from {folder}")
    else:
        write(listing(folder, found))
    return 0
