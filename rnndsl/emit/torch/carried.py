"""What a generated module says of rounds of Newton's method, and of normal forms of matrix states."""

from typing import Any

from rnndsl.diagnostics import Source
from rnndsl.emit.carried import Carried
from rnndsl.emit.labels import labels_of
from rnndsl.emit.naming import KernelNames
from rnndsl.emit.step_form import form as form_of
from rnndsl.emit.torch.chunked import ChunkText
from rnndsl.emit.torch.function import RoundText
from rnndsl.emit.torch.work import work_text
from rnndsl.kernel.build import CellKernels, Refusal
from rnndsl.kernel.chunked import ChunkForm
from rnndsl.kernel.limits import Unsupported
from rnndsl.kernel.newton import NewtonStep


def carried(kernels: CellKernels, source: Source) -> Carried:
    """The rounds and normal forms of a cell; see `runtime/torch/kernels.py`."""
    labels, names = labels_of(kernels.plan), KernelNames()
    said: dict[str, Any] = {}
    refused: dict[str, str] = {}
    chunks: dict[str, Any] = {}
    unchunked: dict[str, str] = {}
    work: dict[str, str] = {}
    texts: list[str] = []
    for r in kernels.recurrences:
        label = labels[r.recurrence.scan.states]
        work[label] = names((label, "work"), f"{label}_work")
        texts.append(work_text(work[label], r.recurrence.scan))
        if isinstance(r.chunked, Refusal):
            unchunked[label] = r.chunked.reason
        else:
            name, after = names((label, "chunks"), f"{label}_chunks"), names((label, "follows"), f"{label}_follows")
            try:
                made = _coefficients(r.chunked, name, source, names)
                made += [ChunkText(r.chunked, after, source).follow_lines()] if r.chunked.outputs else []
                texts += ["\n".join(lines) for lines in made]
                chunks[label] = _said_of_chunks(r.chunked, name, after)
            except Unsupported as e:
                unchunked[label] = str(e)
        if isinstance(r.newton, Refusal):
            refused[label] = r.newton.reason
            continue
        name = names((label, "round"), label)
        try:
            lines = RoundText(r.newton, name, source).lines()
        except Unsupported as e:
            refused[label] = str(e)
            continue
        said[label] = _said(r.newton, name)
        texts.append("\n".join(lines))
    more: dict[str, Any] = {"chunks": chunks, "unchunked": unchunked}
    if not said and not chunks:
        return Carried("No recurrence has rounds of Newton's method, or chunks", {"refused": refused} | more)
    more["work"] = work
    return Carried("Rounds of Newton's method, and chunks of steps, for any device", {"kernels": said, "refused": refused} | more, "\n\n\n".join(texts) + "\n")


def _coefficients(form: ChunkForm, name: str, source: Source, names: KernelNames) -> list[list[str]]:
    """The functions that give what a chunk is solved by; of several changes a step, one each, and one of them all."""
    if not form.earlier and form.repeat is None:
        return [ChunkText(form, name, source).lines()]
    parts = (*form.earlier, form)
    labels = [names((name, i), f"{name}{i + 1}") for i in range(len(parts))]
    return [*(ChunkText(f, label, source).lines() for f, label in zip(parts, labels, strict=True)), ChunkText(form, name, source).changes_lines(labels)]


def _said(newton: NewtonStep, name: str) -> dict[str, Any]:
    step = newton.step
    arrays = (step.streams, step.statics, tuple(array for array, _ in step.carries))
    streams, statics, carries = (form_of(a) for a in arrays)
    said = {"name": name, "streams": streams, "statics": statics, "carries": carries, "nearer": newton.nearer}
    return said if newton.exact is None else said | {"semiring": newton.exact.family}


def _said_of_chunks(form: ChunkForm, name: str, after: str) -> dict[str, Any]:
    step = form.step
    streams = form_of(step.streams[: len(step.streams) - len(form.reads)])
    statics, carries = form_of(step.statics), form_of(tuple(array for array, _ in step.carries))
    follows = tuple(1 for _ in form.outputs)
    shape = {"axis": form.axis, "heads": len(step.carries[0][0].shape) - 2, "rows": form.rows}
    said = {"name": name, "after": after, "streams": streams, "statics": statics, "carries": carries, "own": form.recurrence.own, "follows": follows}
    return said | shape | {"whole": form.whole, "bounded": form.bounded, "changes": bool(form.earlier or form.repeat)}
