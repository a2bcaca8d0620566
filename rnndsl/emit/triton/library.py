"""Plan -> the Triton kernels of a cell as one text; which recurrences have none, and why."""

import re
import textwrap
from dataclasses import dataclass

from rnndsl.diagnostics import Source
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.templates import rendered
from rnndsl.emit.triton import text as triton_text
from rnndsl.emit.triton.decode import DecodeText, decode_text
from rnndsl.emit.triton.function import Constants
from rnndsl.emit.triton.recurrence import RecurrenceText, recurrence_text
from rnndsl.emit.triton.text import LIBRARY
from rnndsl.kernel.build import CellKernels, Refusal
from rnndsl.kernel.limits import Unsupported
from rnndsl.plan.ir import Plan
from rnndsl.version import VERSION


@dataclass(frozen=True)
class TritonText:
    """The kernels of a cell: `text`, the names in it of sizes, hyperparameters and the kernels of recurrences, and why other recurrences have
    none."""

    text: str
    sizes: tuple[tuple[str, str], ...]
    hypers: tuple[tuple[str, str], ...]
    kernels: tuple[tuple[str, str], ...]
    decodes: bool  # whether one step of the whole cell is a kernel too
    refused: tuple[tuple[str, str], ...]


def kernels_text(kernels: CellKernels, source: Source) -> TritonText:
    """The text of the kernels of a cell."""
    plan = kernels.plan
    labels = labels_of(plan)
    names = KernelNames()
    sizes = tuple((n, names(n)) for n in plan.cell.sizes)
    hypers = tuple((h.name, names(h.name)) for h in plan.cell.hypers)
    functions = KernelNames()  # what those of each recurrence begin with
    constants = Constants()
    made: list[RecurrenceText] = []
    refused: list[tuple[str, str]] = []
    for r in kernels.recurrences:
        label = labels[r.recurrence.scan.states]
        if isinstance(r.channel, Refusal):
            refused.append((label, r.channel.reason))
            continue
        try:
            made.append(recurrence_text(plan, r.component, r.channel, source, names, constants, label, functions(label)))
        except Unsupported as e:
            refused.append((label, str(e)))
    decode = decode_text(kernels, source, names, constants) if made and not refused else None
    text = _file(plan, source, constants, made, decode) if made else ""
    return TritonText(text, sizes, hypers, tuple((r.label, r.kernels) for r in made), decode is not None, tuple(refused))


def _file(plan: Plan, source: Source, constants: Constants, made: list[RecurrenceText], decode: DecodeText | None) -> str:
    title = triton_text.comment(f"Made by rnndsl {VERSION} from {source.name}, cell {plan.cell.name}. Change the equations there, not here.")
    given = {"made": title, "constants": list(constants.found.values()), "recurrences": made, "decode": decode}
    text = rendered("triton/kernels.py.jinja", **given, functions=_FUNCTIONS)
    called = {m[1] for m in re.finditer(r"(?<![\w.])(\w+)\(", text)}
    used = sorted(n for n in LIBRARY if n in called)
    text = text.replace(_FUNCTIONS, f"from rnndsl.runtime.triton.functions import {', '.join(used)}" if used else "")
    return _laid_out(text)


_FUNCTIONS = "\0"  # where a file imports those that it uses; in no name or comment of a program
_WIDTH = 118
_LIST = re.compile(r" *(?:\*?[\w.]+(?:: tl\.constexpr)?, )+(?:\*?[\w.]+(?:: tl\.constexpr)?,?)? *")  # a line that is a list of names


def _laid_out(text: str) -> str:
    """A rendered text with its lists of names broken where they are long, and no more empty lines than Python's style has."""
    several = re.compile(r",(?![^\[]*\])")  # a comma that is in no index
    text = re.sub(r"\(([^()]*), \)", lambda m: f"({m[1]})" if several.search(m[1]) else f"({m[1]},)", text)
    lines: list[str] = []
    for line in text.split("\n"):
        if _LIST.fullmatch(line) and (len(line) > _WIDTH or not line.startswith(" ")):
            indent = " " * max(4, len(line) - len(line.lstrip()))
            lines += textwrap.wrap(line.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        else:
            lines.append(line.rstrip())
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip() + "\n"

