"""Layers as ONNX models, run by onnxruntime, against the layers themselves in double precision."""

import itertools
import json
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils._pytree import tree_leaves

import rnndsl
from rnndsl import cli
from rnndsl.functions import OPERATIONS
from rnndsl.nn import Recurrent, from_torch
from tests.agreement import layer_of, sizes_of
from tests.random_programs import program
from tests.zoo_cells import ZOO

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from rnndsl.export.onnx import model as models  # noqa: E402
from rnndsl.export.onnx.functions import FORMS  # noqa: E402
from rnndsl.export.onnx.writer import FLOAT, Store, Writer, value_info  # noqa: E402
from tests.onnx_run import Models, fed, session  # noqa: E402


def models_of(text: str, cell: str = "C", reset: bool = True, **sizes) -> Models:
    torch.manual_seed(0)
    layer = layer_of(text, cell, sizes or sizes_of(text, cell))
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return Models(layer, reset)


# What they compute


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ZOO)
def test_models_of_published_cells(name):
    found = models_of(ZOO[name].text, name)
    found.agree(3, 7)
    found.agree(1, 1)


@pytest.mark.parametrize("seed", range(12))
def test_models_of_random_programs(seed):
    """With complex values, matrix states, lags, repeats, noise, and names that clash with what one might think of."""
    cell = program(seed)
    layer = layer_of(cell.text, "Random", cell.sizes)
    Models(layer, reset=seed % 2 == 0).agree(cell.batch, cell.steps)


EDGES = (0.0, -0.0, 1e-6, -1e-6, 0.3, -0.3, 1.0, -1.0, 2.5, -2.5, 11.0, -11.0, 100.0, -100.0, math.inf, -math.inf)
POINTS = (0.0, -0.0, 1e-3, -0.5, 1.0, 2.0, -3.0)
ROUGH = ("sigmoid", "sin", "cos", "logaddexp", "log_modulus")  # right to so many digits behind the point, near where they are 0


def test_every_operation_has_a_form():
    """But for those that split a complex value, which kernels' graphs do without."""
    assert FORMS.keys() == OPERATIONS.keys() - {"re", "im", "conj"}


@pytest.mark.parametrize("op", FORMS)
def test_operations_at_the_edges(op):
    row = OPERATIONS[op]
    count = row.arity[0]
    values = POINTS if count > 2 else EDGES
    grid = np.array(list(itertools.product(values, repeat=count)))
    w = Writer(Store())
    names = [f"v{i}" for i in range(count)]
    w.op("Identity", FORMS[op](w, *names), named="y")
    graph = onnx.helper.make_graph(
        w.nodes, op, [value_info(n, FLOAT, ("n",)) for n in names], [value_info("y", FLOAT, ("n",))], list(w.store.initializers.values())
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", models.OPSET)], ir_version=models.IR)
    onnx.checker.check_model(model, full_check=True)
    (got,) = session(model).run(None, {n: grid[:, i].astype(np.float32) for i, n in enumerate(names)})
    points = [tuple(map(float, np.float32(p))) for p in grid]
    want = np.array([row.number(*p) for p in points])
    parts = [o for o in (f"{op[:-3]}_re", f"{op[:-3]}_im") if op[-3:] in ("_re", "_im")] or [op]
    with np.errstate(all="ignore"):
        size = np.sqrt(sum(np.array([OPERATIONS[o].number(*p) for p in points]) ** 2 for o in parts))  # of a complex value, of which this is a part
        near = np.abs(got - want) <= (3e-5 if op.startswith("power") else 2e-6) * size + (2e-7 if op in ROUGH else 1e-30)
        beyond = np.isinf(got) & (np.abs(want) > 3.4e38)
    wrong = ~((got == want) | (np.isnan(got) & np.isnan(want)) | near | beyond)
    assert not wrong.any(), [(p, float(g), float(v)) for p, g, v in zip(grid[wrong], got[wrong], want[wrong], strict=True)][:5]


NAMES = """
cell C(D, H, reset = 0.5):
  input x: [D]
  input restart, old: []
  state h, g: [H] = 0.3
  state β: complex [H] = 0.2
  param new_state, state_batch: complex [H]
  param W_x, batch, time: [H, D]
  param Concat, made: [H]
  w = W_x @ x + batch @ x[t-1] + time @ x
  g[t] = 0.5 * g[t-1] + w * Concat + restart
  β[t] = new_state * β[t-1] + w + state_batch
  h[t] = tanh(h[t-1]) + made * old * cos(t)
  output h, x = re(β[t]) + g[t-2], y = β[t-1], reset = reset
"""


def test_names_of_a_program_are_its_own():
    found = models_of(NAMES, D=2, H=3)
    found.agree(2, 5)
    assert found.names == [*(f"output.{n}" for n in ("h", "x", "y", "reset")), *(f"new_state.{n}" for n in ("h", "g", "β", "g_2", "x_1", "t"))]
    assert found.resets == ["reset"]
    taken = models_of(NAMES.replace("input restart, old", "input reset, old").replace("reset = 0.5", "a = 0.5").replace("+ restart", "+ reset").replace("= reset\n", "= a\n"), D=2, H=3)
    taken.agree(2, 5)
    assert taken.resets == ["reset_"]
    local = models_of("cell C(H):\n input x: [H]\n state h: [H]\n param a: [H, H]\n reset = expm(a)\n h[t] = reset @ h[t-1] + x\n output h\n", H=3)
    local.agree(2, 5)
    assert local.resets == ["reset_"]


@pytest.mark.parametrize(
    "lines",
    [
        "state n: []\n state m: [H]\n n[t] = n[t-1] + 1\n m[t] = max(m[t-1], 0.5)\n output n, m",  # no step reads the input
        "output y = x * x[t-1], c = 1, k = t, e = outer(x, x)",  # there is no state
        "state h: [H] = 0.7\n h[t] = x\n output y = h[t-1], z = h[t-3]",  # nothing recurs
        "state h: [H]\n param a: [H]\n h[t] = a\n output y = h[t-1] + x, z = outer(x, x) @ h[t], w = sum(h[t-1])",
        "state h: [H]\n const M: [H, H] = eye(H)\n param A: [H, H]\n h[t] = 0.5 * tanh(expm(A - A.T) @ h[t-1]) + M @ x\n output h",
        "state h: [H]\n noise m: [H] ~ uniform(0.2, 0.4)\n noise n: [] ~ bernoulli(0.7) once\n noise k: [H] ~ normal(0.1, 2)\n h[t] = n * h[t-1] + m * x + k\n output h",
        "state h: [H]\n v = h[t-1]\n repeat k in 2..L:\n  v = v / k + x\n end\n h[t] = 0.5 * v\n output h",  # of no rounds
        "state S: [H, H]\n a = softmax(x)\n S[t] = diag(a) @ S[t-1] @ diag(x) + outer(x, cumsum(x))\n output y = S[t] @ S[t-1] @ x, n = norm(x), d = diag(x)",
    ],
)
def test_models_of_odd_cells(lines):
    header = "H, L" if "L:" in lines else "H"
    text = f"cell C({header}):\n input x: [H]\n {lines}\n"
    for reset in (True, False):
        found = models_of(text, reset=reset, **({"H": 3, "L": 1} if "L" in header else {"H": 3}))
        found.agree(2, 5)
        found.agree(1, 1)


def test_training_has_no_part_in_it():
    text = "cell C(H):\n input x: [H]\n noise m: [H] ~ bernoulli(0.5)\n output y = m * x\n"
    layer = rnndsl.load(text).C(H=2).train()
    (y,) = session(models.onnx_models(layer)[1]).run(None, {"x": np.ones((1, 2), np.float32)})
    assert y.tolist() == [[0.5, 0.5]]


# Stacks, and sequences of different lengths


AWKWARD = """
cell C(D, H):
  input x: [D]
  input reset: []
  state h: [H] = 0.5
  param W: [H, D]
  h[t] = 0.5 * h[t-2] + W @ x[t-1] + t + reset
  output q = h[t], s = sum(h[t]), z = 1j * h[t]
"""
STACKS = {
    "both directions": (ZOO["GRU"].text, "GRU", {"num_layers": 2, "bidirectional": True}),
    "one direction": (ZOO["LSTM"].text, "LSTM", {"num_layers": 2}),
    "complex states": (ZOO["LRU"].text, "LRU", {"bidirectional": True}),
    "lags and the step number": (AWKWARD, "C", {"num_layers": 2, "bidirectional": True}),
    "an output that goes up": (AWKWARD, "C", {"num_layers": 3, "output": "q"}),
}


@pytest.mark.parametrize("name", STACKS)
def test_models_of_stacks(name):
    text, cell, options = STACKS[name]
    torch.manual_seed(0)
    net = Recurrent(getattr(rnndsl.load(text), cell), {"D": 3, "H": 4}, **options).eval()
    found = models.onnx_models(net, lengths=True)
    sequence = session(found[0])
    names = [i.name for i in found[0].graph.input]
    fields, (reset, lengths) = [n for n in names if n.startswith("state.")], names[-2:]
    inputs = [torch.randn(3, 6, *map(int, shape)) for _, shape, _ in net._declared]
    feeds = {n: fed(x) for n, x in zip(net.inputs, inputs, strict=True)}

    def compare(run, given, wanted):
        want = [torch.view_as_real(v) if v.is_complex() else v for v in tree_leaves(wanted)]
        for got, value in zip(map(torch.from_numpy, run.run(None, given)), want, strict=True):
            torch.testing.assert_close(got, value, atol=2e-5, rtol=1e-4)

    ends, restarts = torch.tensor([4, 6, 0]), torch.rand(3, 6) < 0.3
    with torch.no_grad():
        _, state = wanted = net(*inputs)
        compare(sequence, feeds, wanted)
        before = dict(zip(fields, map(fed, tree_leaves(state)), strict=True))
        compare(sequence, feeds | before | {lengths: ends.numpy(), reset: restarts.numpy()}, net(*inputs, state=state, lengths=ends, reset=restarts))
        compare(sequence, feeds | {reset: restarts.numpy()}, net(*inputs, reset=restarts))
        if not net.bidirectional:
            now = [x[:, 0] for x in inputs]
            compare(session(found[1]), {n: fed(x) for n, x in zip(net.inputs, now, strict=True)} | before, net.step(*now, state))
    assert len(found) == 2 - net.bidirectional
    held = {i.name for i in found[0].graph.initializer}
    assert {f"cells.{k}.W" for k in range(len(net.cells))} <= held or not any("W" in c._tensors for c in net.cells)


def test_layers_of_torch_go_to_onnx():
    """By way of `from_torch`: packed sequences in both directions, as PyTorch computes them."""
    theirs = torch.nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
    run = session(models.onnx_models(from_torch(theirs), lengths=True)[0])
    x, ends = torch.randn(3, 7, 3), torch.tensor([7, 3, 1])
    y, h = theirs(pack_padded_sequence(x, ends, batch_first=True))
    outputs, *state = run.run(None, {"x": x.numpy(), "lengths": ends.numpy()})
    torch.testing.assert_close(torch.from_numpy(outputs), pad_packed_sequence(y, batch_first=True)[0])
    torch.testing.assert_close(torch.from_numpy(np.stack(state)), h)


def test_padding_is_not_read():
    model, _ = models.onnx_models(rnndsl.load(ZOO["GRU"].text).GRU(D=3, H=4), lengths=True)
    run = session(model)
    x = torch.randn(2, 5, 3)
    x[0, 2:] = math.nan
    y, h = run.run(None, {"x": x.numpy(), "lengths": np.array([2, 5])})
    short, end = run.run(None, {"x": x[:1, :2].numpy()})
    assert np.array_equal(y[0, :2], short[0]) and not y[0, 2:].any() and np.array_equal(h[0], end[0]) and np.isfinite(h).all()


# How


def inner(model):
    """The graph inside the Scan."""
    (scan,) = [n for n in model.graph.node if n.op_type == "Scan"]
    return next(a.g for a in scan.attribute if a.name == "body")


def kinds(graph) -> list[str]:
    return [n.op_type for n in graph.node]


def test_products_of_inputs_are_made_of_all_steps_at_once():
    text = ZOO["GRU"].text
    model, step = models.onnx_models(rnndsl.load(text).GRU(D=3, H=4))
    assert kinds(model.graph).count("MatMul") == 1 and kinds(inner(model)).count("MatMul") == 1
    assert kinds(step.graph).count("MatMul") == 2
    names = {i.name for i in model.graph.initializer}
    assert names >= {"W_r", "W_z", "W_n", "R_r", "R_z", "R_n", "b_r", "b_z", "b_n", "c_n"}  # weights are called as in the program
    assert [i.name for i in model.graph.input] == ["x", "state.h", "reset"] and [i.name for i in step.graph.input] == ["x", "state.h"]
    assert any("h[t] = (1 - z)" in n.doc_string for n in inner(model).node) and "cell GRU" in model.graph.doc_string
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", "time", 3]


def test_outputs_are_made_after_the_scan_and_matrix_states_stay_in_it():
    model, _ = models.onnx_models(rnndsl.load(ZOO["LRU"].text).LRU(D=3, H=4))
    after = kinds(model.graph)[kinds(model.graph).index("Scan") :]
    assert "MatMul" in after and "MatMul" not in kinds(inner(model))
    model, _ = models.onnx_models(rnndsl.load(ZOO["GatedDeltaNet"].text).GatedDeltaNet(D=3, N=2, K=3, V=5))
    body = inner(model)
    ranks = [len(o.type.tensor_type.shape.dim) for o in body.output]
    assert ranks == [4, 3]  # the state that is left, and what is read of it in every step


@pytest.mark.parametrize("name", ["GRU", "LRU", "GatedDeltaNet", "QRNN"])
def test_models_run_in_the_evaluator_of_the_standard(name):
    """Which takes what onnxruntime takes, and no more."""
    layer = layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name))
    found = Models(layer)
    x = torch.randn(2, 4, *map(int, layer._inputs[0][1]))
    model = models.onnx_models(layer, lengths=True)[0]
    given = {i.name: onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == i.name)) for i in list(model.graph.input)[1:]}
    outputs = ReferenceEvaluator(model).run(None, {"x": x.numpy()} | given)
    for one, other in zip(outputs, found.sequence.run(None, {"x": x.numpy()}), strict=True):
        assert np.allclose(one, other, atol=1e-5)


def test_a_batch_may_be_empty():
    for name in ("GRU", "QRNN"):
        layer = layer_of(ZOO[name].text, name, sizes_of(ZOO[name].text, name))
        for model, lead in zip(models.onnx_models(layer, lengths=True), ((0, 4), (0,)), strict=True):
            shapes = [y.shape[0] for y in session(model).run(None, {"x": np.zeros((*lead, 3), np.float32)})]
            assert not any(shapes)


def test_models_are_of_a_format_that_is_old_enough():
    for model in models.onnx_models(rnndsl.load(ZOO["LSTM"].text).LSTM(D=3, H=4)):
        assert model.ir_version == 8 and [(o.domain, o.version) for o in model.opset_import] == [("", 18)]


def test_a_state_of_one_sequence_is_that_of_all():
    text = ZOO["LSTM"].text
    layer = rnndsl.load(text).LSTM(D=3, H=4)
    x, one = torch.randn(5, 6, 3), torch.randn(1, 4)
    run = session(models.onnx_models(layer)[0])
    with torch.no_grad():
        y, state = layer(x, state=layer.State(c=one.expand(5, 4), h=one.expand(5, 4)))
    found = run.run(None, {"x": x.numpy(), "state.h": one.numpy(), "state.c": one.numpy()})
    for a, b in zip(found, (y, *state), strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b)


def test_files_run_without_rnndsl_and_torch(tmp_path):
    layer = rnndsl.load(ZOO["GatedDeltaNet"].text).GatedDeltaNet(D=3, N=2, K=3, V=5)
    paths = rnndsl.export_onnx(layer, tmp_path / "out")
    assert [p.name for p in paths] == ["gated_delta_net.onnx", "gated_delta_net_step.onnx"]
    script = f"""
import sys, numpy, onnxruntime
y, state = onnxruntime.InferenceSession({str(paths[0])!r}).run(None, {{"x": numpy.ones((2, 4, 3), "float32")}})
step, state = onnxruntime.InferenceSession({str(paths[1])!r}), None
for t in range(4):
    given = {{}} if state is None else {{"state.S": state}}
    one, state = step.run(None, {{"x": numpy.ones((2, 3), "float32")}} | given)
numpy.testing.assert_allclose(y[:, -1], one, atol=1e-5)
assert not {{"torch", "rnndsl", "onnx"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_path_may_be_that_of_the_first_file(tmp_path):
    layer = rnndsl.load(ZOO["LSTM"].text).LSTM(D=3, H=4)
    assert rnndsl.export_onnx(layer, tmp_path / "a" / "gate.onnx") == (tmp_path / "a" / "gate.onnx", tmp_path / "a" / "gate_step.onnx")
    with pytest.raises(ValueError, match="name: expected the name of a file without a folder"):
        rnndsl.export_onnx(layer, tmp_path, name="../gate")


def test_large_weights_lie_in_a_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "INLINE", 1000)
    layer = rnndsl.load(ZOO["LSTM"].text).LSTM(D=30, H=40)
    for _ in range(2):  # a second export replaces the first
        paths = rnndsl.export_onnx(layer, tmp_path, name="net")
    sizes = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    assert sizes.keys() == {"net.onnx", "net.onnx.weights", "net_step.onnx", "net_step.onnx.weights"} and sizes["net.onnx.weights"] < 60_000
    x = torch.randn(2, 3, 30)
    assert np.allclose(session(str(paths[0])).run(None, {"x": x.numpy()})[0], layer(x)[0].detach().numpy(), atol=1e-5)


# Refusals


def test_what_is_no_layer_of_a_program_is_refused():
    scope: dict = {"__name__": "made"}
    exec(rnndsl.compile(ZOO["LSTM"].text), scope)
    scope["LSTM"]._program = None  # as an earlier version made it
    for layer, words in [(torch.nn.GRU(2, 3), "layer: expected one of a generated class"), (rnndsl.load(ZOO["LSTM"].text).LSTM, "got the class LSTM"), (scope["LSTM"](D=2, H=3), "the text of its program is not known")]:
        with pytest.raises(TypeError, match=words):
            rnndsl.export_onnx(layer, "nowhere")


def test_what_is_too_large_is_refused_with_its_line():
    text = "cell C(H, L):\n input x: [H]\n state h: [H]\n v = h[t-1]\n repeat k in 1..L:\n  v = tanh(v + k)\n end\n h[t] = v + x\n output h\n"
    with pytest.raises(rnndsl.RnnError) as found:
        models.onnx_models(rnndsl.load(text).C(H=2, L=30_000))
    assert "cannot be exported to ONNX" in str(found.value) and "v = tanh(v + k)" in str(found.value)


def test_numbers_that_float32_has_no_room_for_are_refused():
    layer = rnndsl.load("cell C(H):\n input x: [H]\n param a: [H]\n output y = a * x\n").C(H=2, dtype=torch.float64)
    with torch.no_grad():
        layer.a.fill_(1e300)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="a: it has a number that float32 has no room for"):
        warnings.simplefilter("error")
        models.onnx_models(layer)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "rnndsl.export.onnx.sequence", raising=False)
    for name in [n for n in sys.modules if n.startswith("rnndsl.export.onnx.") and n != "rnndsl.export.onnx.model"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r'pip install "rnndsl\[onnx\]"'):
        models.onnx_models(rnndsl.load(ZOO["LSTM"].text).LSTM(D=2, H=3))


# The command


def test_the_command_writes_models_of_trained_weights(tmp_path, capsys):
    program = tmp_path / "cells.rnn"
    program.write_text(ZOO["GRU"].text + ZOO["LSTM"].text, encoding="utf-8")
    layer = rnndsl.load(program).LSTM(D=3, H=4)
    torch.save(layer.state_dict(), tmp_path / "lstm.pt")
    command = ["export", str(program), "--onnx", "-o", str(tmp_path / "out"), "--cell", "LSTM", "--size", "D=3", "H=4", "--weights", str(tmp_path / "lstm.pt")]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/out/lstm.onnx\nwrote {tmp_path}/out/lstm_step.onnx\n"
    assert cli.main([*command[:-2], "--layers", "2", "--prefix", "two", "--lengths"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {tmp_path}/out/two.onnx\nwrote {tmp_path}/out/two_step.onnx\nthe weights are drawn")
    assert cli.main([*command, "--prefix", "gate", "--no-reset", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": [f"{tmp_path}/out/gate.onnx", f"{tmp_path}/out/gate_step.onnx"]}
    x = torch.randn(2, 5, 3)
    for name in ("lstm", "gate"):
        run = session(str(tmp_path / "out" / f"{name}.onnx"))
        assert ("reset" in [i.name for i in run.get_overridable_initializers()]) is (name == "lstm")
        assert np.allclose(run.run(None, {"x": x.numpy()})[0], layer(x)[0].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say as what to export it: --c or --onnx"),
        (("--c", "--onnx"), "say as what to export it: --c or --onnx"),
        (("--onnx", "--int8"), "--int8 is of --c"),
        (("--c", "--no-reset"), "--no-reset is of --onnx"),
        (("--c", "--lengths"), "--lengths is of --onnx"),
        (("--onnx", "--size", "D=3"), "give those of LSTM that are missing: --size H=…"),
    ],
)
def test_the_command_refuses_what_does_not_fit(tmp_path, capsys, arguments, words):
    program = tmp_path / "lstm.rnn"
    program.write_text(ZOO["LSTM"].text, encoding="utf-8")
    assert cli.main(["export", str(program), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err
