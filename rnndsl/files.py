"""Files of the user's, read up to a limit and written whole or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def read_file(path: str | Path, limit: int) -> bytes:
    """What a file holds; of one with more than `limit` bytes, or without an end, `limit` and one. Raises OSError."""
    with open(path, "rb") as f:
        return read_stream(f, limit)


def read_stream(stream: BinaryIO, limit: int) -> bytes:
    """The same of an open stream."""
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := stream.read(min(left, 1 << 20))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def same_file(path: Path, others: Iterable[Path]) -> bool:
    """Whether a path leads to one of other files: through links too, and where the system does not tell capitals from small letters."""
    for other in others:
        with suppress(OSError):
            if path.samefile(other):
                return True
    return False


def write_new(path: Path, data: bytes) -> None:
    """Writes a file that is not there yet. Raises FileExistsError where something is, OSError; then nothing is left of it."""
    with _naming(path):
        _write(path, data)


def write_whole(path: Path, data: bytes) -> None:
    """Gives a file new content, all of it or none. One that is there keeps its mode and owner, and a link to it stays one.

    What is no regular file, as /dev/stdout, is written to. Raises OSError; the old content is whole then.
    """
    with _naming(path):
        _replace(path, data)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An error of the system's says which file the user named, not the one beside it."""
    try:
        yield
    except OSError as e:
        raise type(e)(e.errno, e.strerror or str(e), str(path)) from None


def _replace(path: Path, data: bytes) -> None:
    there = path.stat() if path.exists() else None
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if there is not None and not stat.S_ISREG(there.st_mode):
        with open(path, "wb") as f:
            f.write(data)
        return
    path = path.resolve()
    if there is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    beside = _beside(path)
    try:
        _write(beside, data)
        if there is not None:
            shutil.copymode(path, beside)
            with suppress(OSError, AttributeError):  # another owner's file stays theirs, where we may say so
                os.chown(beside, there.st_uid, there.st_gid)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _beside(path: Path) -> Path:
    """A name that nobody has in the folder of a path; short, whatever the path's own."""
    return path.with_name(f".rnndsl-{os.getpid()}-{os.urandom(6).hex()}{path.suffix if len(path.suffix) < 9 else ''}")


def _write(path: Path, data: bytes) -> None:
    """Writes a new file, to the disk. Raises OSError, and removes what it began."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags, 0o666)  # less what the user's umask takes away
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            with suppress(OSError):  # some file systems cannot
                os.fsync(f.fileno())
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
