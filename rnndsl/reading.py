"""Programs as text: from a file, from bytes, from a string."""

from pathlib import Path

from rnndsl.diagnostics import Diagnostic, RnnError, Source, Span
from rnndsl.files import read_file

MAX_BYTES = 4_000_000


def read_source(path: str | Path) -> Source:
    """The program in a file. Raises RnnError where it is not UTF-8 text, OSError where it cannot be read."""
    path = Path(path)
    return decode(read_file(path, MAX_BYTES), path.name)


def decode(data: bytes, name: str) -> Source:
    """A program from bytes: UTF-8, any newline. Raises RnnError with the place of the first byte that is no text."""
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        before = data[: e.start].decode("utf-8", errors="replace")
        text = normalised(data.decode("utf-8", errors="replace"))
        at = len(normalised(before))
        title = f"byte 0x{data[e.start]:02x} is not UTF-8 text"
        hint = "save the file in the encoding UTF-8"
        raise RnnError(Source(name, text), [Diagnostic("encoding", title, Span(at, at + 1), "not a character", hints=(hint,))]) from None
    return Source(name, normalised(text))


def _too_large(name: str) -> RnnError:
    title = f"a program of more than {MAX_BYTES} bytes is too large"
    return RnnError(Source(name, ""), [Diagnostic("too-large", title, Span(0, 0), f"at most {MAX_BYTES} bytes")])


def normalised(text: str) -> str:
    """Text without a byte-order mark and with `\\n` for every newline."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def as_source(text_or_path: str | Path, name: str | None = None) -> Source:
    """A program from its text, or from a file where given a Path or a one-line string that ends in `.rnn`."""
    if not isinstance(text_or_path, str | Path):
        raise TypeError(f"expected the text of a program, or its path, got {type(text_or_path).__name__}")
    if isinstance(text_or_path, Path) or ("\n" not in text_or_path and text_or_path.endswith(".rnn")):
        return read_source(text_or_path)
    return as_program(text_or_path, name or "<string>")


def as_program(text: str, name: str) -> Source:
    """A program from its text, whatever that looks like. Raises RnnError where it is too large."""
    if len(text) > MAX_BYTES:
        raise _too_large(name)
    return Source(name, normalised(text))
