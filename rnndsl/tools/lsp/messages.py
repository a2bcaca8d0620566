"""The messages on a stream, for pygls to read: those that are too large, or whose header makes no sense, are left out."""

import logging
import re
from typing import BinaryIO

from rnndsl.reading import MAX_BYTES

MAX_MESSAGE = 4 * MAX_BYTES  # bytes: a program as JSON, its characters perhaps escaped
_MAX_LINE = 1 << 16  # bytes that are looked at together
_LONGEST = 64  # bytes of a header's line
_LENGTH = re.compile(rb"Content-Length:[ \t]*(\d{1,20})[ \t]*\r?\n\Z", re.IGNORECASE)

log = logging.getLogger(__name__)


class Messages:
    """A stream as pygls reads one: for each message a line with its length, an empty line, and the message.

    What stands between two messages is passed over, so that a header that lies loses no more than its own message.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._length: int | None = None  # of a message whose first line has been given out

    def readline(self) -> bytes:
        """The next line of a header; empty at the end of the stream."""
        if self._length is not None:
            return b"\r\n"
        length: int | None = None
        line = b""
        while part := self._stream.readline(_MAX_LINE):
            line = (b"" if line.endswith(b"\n") else line[-_LONGEST:]) + part
            if found := _LENGTH.search(line):
                length = int(found[1])
                if length > MAX_MESSAGE:
                    log.error("a message of %d bytes is too large: at most %d", length, MAX_MESSAGE)
                    length = None
            elif length and not line.strip():
                self._length = length
                return b"Content-Length: %d\r\n" % length
        return b""

    def read(self, size: int) -> bytes:
        """A message; empty where the stream ends before it does."""
        self._length = None
        parts: list[bytes] = []
        while size and (part := self._stream.read(min(size, 1 << 20))):
            parts.append(part)
            size -= len(part)
        return b"" if size else b"".join(parts)
