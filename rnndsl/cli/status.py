"""What scripts rely on: exit statuses, and the version of plain data."""

ERRORS = 1  # in a program; a check that failed; a pipe that nobody reads
MISUSE = 2
INTERRUPTED = 130  # what a shell expects after Ctrl-C
JSON_VERSION = 1  # of what --json prints


class Misuse(Exception):
    """A command that cannot be carried out as given."""
