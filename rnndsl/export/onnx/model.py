"""`rnndsl.export_onnx`: a layer as two ONNX models, one of a sequence, one of a step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnndsl.checks.cell import Cell
from rnndsl.compiler import deep_trees
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.export.evaluation import evaluation
from rnndsl.export.layers import program_of, snake_case
from rnndsl.export.onnx.given import Given
from rnndsl.export.step import NoForm, planned_step
from rnndsl.export.values import values_of
from rnndsl.nn.recurrent import Recurrent
from rnndsl.plan.build import make_plan
from rnndsl.plan.verify import verify
from rnndsl.source import printable
from rnndsl.version import VERSION

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

OPSET, IR = 18, 8  # those of ONNX 1.13: runtimes since 2023 read them
INLINE = 1 << 30  # bytes of weights up to which they stand in the model's file; a file may have twice as many


def export_onnx(layer: Any, path: str | Path, *, name: str | None = None, reset: bool = True, lengths: bool = False) -> tuple[Path, ...]:
    """Writes name.onnx, which runs a sequence, and name_step.onnx, which runs one step, and returns their paths.

    path: the folder to write to, or the first file, `folder/name.onnx`. layer: one of a class of `rnndsl.load`, or a `rnndsl.nn.Recurrent` of such; one that
    runs in both directions has no step. Both models hold the weights as they are now, in float32, and compute what the layer does in evaluation. name: the
    cell's, in snake case, if none is given. reset, lengths: whether the first takes where sequences restart, and where they end. Raises TypeError for what is
    no such layer, ValueError for a name that is no file's and for a weight that float32 has no room for, RnnError for equations that have no form in ONNX,
    ImportError where the package onnx is missing.
    """
    folder = Path(path)
    if folder.suffix == ".onnx":
        folder, name = folder.parent, name or folder.stem
    stem = name or snake_case(program_of(_cells(layer)[0])[1].name)
    if Path(stem).name != stem:
        raise ValueError(f"name: expected the name of a file without a folder, got {stem!r}")
    models = onnx_models(layer, reset=reset, lengths=lengths)
    import onnx

    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"{stem}.onnx", folder / f"{stem}_step.onnx")[: len(models)]
    for model, path in zip(models, paths, strict=True):
        weights = f"{path.name}.weights"
        (folder / weights).unlink(missing_ok=True)  # onnx writes behind what is there
        onnx.save_model(model, str(path), save_as_external_data=model.ByteSize() > INLINE, location=weights)
    return paths


def onnx_models(layer: Any, *, reset: bool = True, lengths: bool = False) -> "tuple[ModelProto, ...]":
    """The models of a layer: of a sequence, and of a step. Raises what `export_onnx` does."""
    programs = [program_of(cell) for cell in _cells(layer)]
    try:
        from rnndsl.export.onnx.sequence import sequence_graph
        from rnndsl.export.onnx.stack import stack_graph, stack_step_graph
        from rnndsl.export.onnx.step import step_graph
    except ModuleNotFoundError as e:
        if e.name is None or e.name.partition(".")[0] != "onnx":
            raise
        raise ImportError('an export to ONNX needs the package onnx: pip install "rnndsl[onnx]"') from None
    given = [_given(layer, *program) for layer, program in zip(_cells(layer), programs, strict=True)]
    doc = "\n\n".join(dict.fromkeys(_text(*program) for program in programs))
    if layer is _cells(layer)[0]:
        (of,) = given
        graphs = [sequence_graph(of, doc, reset, lengths), step_graph(of, doc)]
    else:
        graphs = [stack_graph(layer, given, doc, reset, lengths), *([] if layer.bidirectional else [stack_step_graph(layer, given, doc)])]
    return tuple(_model(given, graph) for graph in graphs)


def _cells(layer: Any) -> list[Any]:
    """The layers of a stack, or the one layer."""
    return list(layer.cells) if isinstance(layer, Recurrent) else [layer]


def _text(source: Source, cell: Cell) -> str:
    return "\n".join(map(printable, source.slice(cell.span).rstrip().split("\n")))


def _given(layer: Any, source: Source, cell: Cell) -> Given:
    with deep_trees(source):
        plan = verify(make_plan(evaluation(cell, layer._sizes)))
        try:
            step = planned_step(plan, unroll=True)
        except NoForm as e:
            raise RnnError(source, [Diagnostic("no-form", f"cell {cell.name} cannot be exported to ONNX: {e}", e.span, "what it stops at")]) from None
        values, initial = values_of(layer, plan, source)
    return Given(source, plan, step, layer._sizes, layer._hypers, values, initial)


def _model(given: list[Given], graph: "GraphProto") -> "ModelProto":
    from onnx import checker, helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="rnndsl", producer_version=VERSION)
    for k, of in enumerate(given):
        header = {"cell": of.plan.cell.name} | of.sizes | of.hypers
        for name, value in header.items():
            model.metadata_props.add(key=f"{k}.{name}" if len(given) > 1 else name, value=str(value))
    if model.ByteSize() < INLINE:  # the checker reads no larger one
        checker.check_model(model, full_check=True)
    return model
