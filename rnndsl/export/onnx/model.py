"""`rnndsl.export_onnx`: a layer as two ONNX models, one of a sequence, one of a step."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnndsl import compiler
from rnndsl.checks.cell import Cell
from rnndsl.compiler import deep_trees
from rnndsl.diagnostics import Diagnostic, RnnError, Source
from rnndsl.export.evaluation import evaluation
from rnndsl.export.layers import program_of, snake_case
from rnndsl.export.onnx.given import Given, printable
from rnndsl.export.step import NoForm, planned_step
from rnndsl.export.values import values_of
from rnndsl.plan.build import make_plan
from rnndsl.plan.verify import verify
from rnndsl.version import VERSION

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

OPSET, IR = 18, 8  # those of ONNX 1.13: runtimes since 2023 read them
INLINE = 1 << 30  # bytes of weights up to which they stand in the model's file; a file may have twice as many


def export_onnx(layer: Any, folder: str | Path, *, name: str | None = None, reset: bool = True) -> tuple[Path, Path]:
    """Writes folder/name.onnx, which runs a sequence, and folder/name_step.onnx, which runs one step, and returns their paths.

    Both hold the layer's weights as they are now, in float32, and compute what it does in evaluation. name: the cell's, in snake case, if none is given.
    reset: whether the first takes where sequences restart. Raises TypeError for what is no layer of a class of `rnndsl.load`, ValueError for a weight that
    float32 has no room for, RnnError for equations that have no form in ONNX, ImportError where the package onnx is missing.
    """
    models = onnx_models(layer, reset=reset)
    import onnx

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = name or snake_case(type(layer).__name__)
    paths = folder / f"{stem}.onnx", folder / f"{stem}_step.onnx"
    for model, path in zip(models, paths, strict=True):
        weights = f"{path.name}.weights"
        (folder / weights).unlink(missing_ok=True)  # onnx writes behind what is there
        onnx.save_model(model, str(path), save_as_external_data=model.ByteSize() > INLINE, location=weights)
    return paths


def onnx_models(layer: Any, *, reset: bool = True) -> "tuple[ModelProto, ModelProto]":
    """The models of a layer: of a sequence, and of a step. Raises what `export_onnx` does."""
    source, name = program_of(layer)
    try:
        from rnndsl.export.onnx.sequence import sequence_graph
        from rnndsl.export.onnx.step import step_graph
    except ModuleNotFoundError as e:
        if e.name is None or e.name.partition(".")[0] != "onnx":
            raise
        raise ImportError('an export to ONNX needs the package onnx: pip install "rnndsl[onnx]"') from None
    cell = next(c for c in compiler.compiled(source).program.cells if c.name == name)
    doc = "\n".join(map(printable, source.slice(cell.span).rstrip().split("\n")))
    of = _given(layer, cell, source)
    return _model(of, sequence_graph(of, doc, reset)), _model(of, step_graph(of, doc))


def _given(layer: Any, cell: Cell, source: Source) -> Given:
    with deep_trees(source):
        plan = verify(make_plan(evaluation(cell, layer._sizes)))
        try:
            step = planned_step(plan, unroll=True)
        except NoForm as e:
            raise RnnError(source, [Diagnostic("no-form", f"cell {cell.name} cannot be exported to ONNX: {e}", e.span, "what it stops at")]) from None
        values, initial = values_of(layer, plan, source)
    return Given(source, plan, step, layer._sizes, layer._hypers, values, initial)


def _model(of: Given, graph: "GraphProto") -> "ModelProto":
    from onnx import checker, helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="rnndsl", producer_version=VERSION)
    helper.set_model_props(model, {"cell": of.plan.cell.name} | {name: str(value) for name, value in (*of.sizes.items(), *of.hypers.items())})
    if model.ByteSize() < INLINE:  # the checker reads no larger one
        checker.check_model(model, full_check=True)
    return model
