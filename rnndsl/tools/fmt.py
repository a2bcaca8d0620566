"""`rnndsl fmt`: files in the canonical style, rewritten at once or not at all."""

import difflib
import errno
from dataclasses import dataclass
from pathlib import Path

from rnndsl import api
from rnndsl.files import write_whole
from rnndsl.syntax.formatter import formatted


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
        old, new = ([f"{line}\n" for line in text.decode().split("\n")] for text in (self.before, self.after))
        for lines in (old, new):
            last = lines.pop().removesuffix("\n")
            if last:
                lines.append(f"{last}\n\\ No newline at end of file\n")
        return "".join(difflib.unified_diff(old, new, self.name, self.name))


def format_bytes(data: bytes, name: str) -> Formatted:
    """Formats what a file holds. Raises RnnError for syntax errors and for bytes that are no text."""
    text = formatted(api.decode(data, name))
    head = data.partition(b"\n")[0]
    return Formatted(name, data, (text.replace("\n", "\r\n") if head.endswith(b"\r") else text).encode())


def replace_file(path: Path, data: bytes) -> None:
    """Gives a file new content, all of it or none; its mode stays, and a link to it. Raises OSError."""
    if not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    write_whole(path, data)
