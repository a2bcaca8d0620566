"""What `explain` says of a cell: the page, the data, LaTeX, the picture; costs, bounds on growth, schedules; dumps of stages."""

import base64
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

import rnndsl
from rnndsl import api, cli, compiler
from rnndsl.calculus.cost import cost_of_scan
from rnndsl.calculus.schedule import legal_schedules
from rnndsl.checks.dims import Dim
from rnndsl.compiler import STAGES
from rnndsl.diagnostics import Source
from rnndsl.tiles import EXACT
from rnndsl.tools.arguments import parse_shape, parse_sizes
from rnndsl.tools.dump import dump
from rnndsl.tools.explain import explain
from rnndsl.tools.expr_text import expr_text, size_text
from rnndsl.tools.graph import state_graph
from rnndsl.tools.latex_names import LatexNames
from rnndsl.tools.layout import TALL, layout
from rnndsl.tools.names import Shown
from rnndsl.tools.picture_graph import curve, legend
from rnndsl.tools.picture_jacobian import block, blocks
from tests.choice import some
from tests.features import FEATURES, program
from tests.many_ranks import LAGS
from tests.random_cells import cells
from tests.zoo_cells import ZOO

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rnn"))
HEAD = "cell C(D, H, dt = 1.0):\n  input x: [D]\n"


def of(text: str, **options):
    return explain(compiler.compiled(Source("c.rnn", text)), **options)


def example(name: str, **options):
    return explain(compiler.compiled(api.read_source(ROOT / "examples" / f"{name}.rnn")), **options)


def component(text: str, **options) -> dict:
    (cell,) = of(text, **options).data["cells"]
    (found,) = cell["components"]
    return found


def scalar_cell(equation: str, declared: str = "param a, b: [D]") -> str:
    return f"{HEAD}  state h: [D]\n  {declared}\n  h[t] = {equation}\n  output h\n"


# The page


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_page_of_an_example(path):
    source = api.read_source(path)
    text = explain(compiler.compiled(source), shape=(4, 4096)).text
    assert all(s in text for s in ("Equations", "Component: ", "structure", "Cost of one step", "Schedule for B = 4, T = 4096"))
    assert "not measured" in text and "on a CPU" in text
    assert "∂" in text
    for line in text.splitlines():
        assert len(line) <= 135 and line == line.rstrip()
        assert not re.search(r"[A-Za-z_]\w*\.(in|out|const|\d)", line.partition("|")[2] if "|" in line else line), line


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_has_a_page_data_and_latex(name):
    found = of(program(name), shape=(2, 128), sizes={"D": 3, "H": 5})
    assert found.text and json.loads(json.dumps(found.data, allow_nan=False)) == found.data
    balanced(found.latex)


def test_equations_stand_as_written_with_their_lines_and_functions():
    text = "def f(z) = g(z) + 1\ndef g(z) = z * z\ndef k(z) = z\n" + scalar_cell("f(h[t-1])  # a comment\n         ", "param a: [D]")
    text = text.replace("h[t] = f", "h[t] = f")
    (cell,) = of(text).data["cells"]
    assert [f["text"] for f in cell["functions"]] == ["def f(z) = g(z) + 1", "def g(z) = z * z"]
    assert {"line": 8, "text": "h[t] = f(h[t-1])"} in cell["equations"]


def test_repeat_stands_with_its_end():
    text = example("rhn").text
    assert "repeat k in 1..L:" in text and re.search(r"\d+ \| end", text)
    assert "the repeat is shown with 3 rounds" in text
    two, many = (example("rhn", sizes={"L": n}).data["cells"][0]["components"][0]["jacobian"] for n in (2, 500))
    assert two["rounds"] is None and len(two["through"]) == 4
    assert many["rounds"] == 3 and len(many["through"]) == 6


def test_merged_product_is_told_with_its_shape():
    text = example("para_gru").text
    assert "W_z, W_r, W_n @ x: one [3*H, D] product over B*T rows" in text
    assert "z_in: [H] = W_z_x + b_z" in text


def test_internal_names_never_clash_with_the_programs():
    text = HEAD + "  state h: [H]\n  param W, V: [H, D]\n  param z_in, m1: [H]\n"
    text += "  z = tanh(W @ x + z_in + h[t-1] * m1)\n  h[t] = z * V @ x\n  output h\n"
    (cell,) = of(text).data["cells"]
    names = [o["name"] for o in cell["hoisted"] if o["kind"] == "equation"]
    assert "z_in_2" in names and "z_in" not in names


def test_mixes_do_not_take_a_users_name():
    text = HEAD + "  state h: [H]\n  param R: [H, H]\n  param m1: [H]\n  h[t] = tanh(R @ h[t-1])\n  output y = h[t] * m1\n"
    through = component(text)["jacobian"]["through"]
    assert [t["name"] for t in through] == ["m1_2"]


def test_bounds_say_what_they_assume():
    text = scalar_cell("(1 - dt * sigmoid(a)) * h[t-1] + dt * sigmoid(a) * tanh(x)")
    assert "h in [-1, 1] if it starts there, assuming dt = 1" in of(text).text
    assert component(text)["bounds"]["h"] == {"low": -1.0, "high": 1.0, "assumes": {"dt": 1.0}}


def test_infinite_ends_are_null():
    assert component(scalar_cell("a * h[t-1] + x"))["bounds"]["h"] == {"low": None, "high": None, "assumes": {}}


def test_pattern_of_a_block():
    j = example("para_lstm").data["cells"][0]["components"][0]["jacobian"]
    assert j["rows"] == ["c[t]", "h[t]"] and j["columns"] == ["c[t-1]", "h[t-1]"] and j["pattern"] == [[True, True], [True, True]]
    slstm = example("slstm").data["cells"][0]["components"][0]["jacobian"]
    assert slstm["pattern"] == [[True, False, True], [True, True, True], [True, True, True]]


def test_factored_form_names_the_products():
    j = example("gru").data["cells"][0]["components"][0]["jacobian"]
    assert "R_r @ h[t-1], R_z @ h[t-1], R_n @ h[t-1]" in j["form"] and "never built" in j["form"]
    assert {t["text"] for t in j["through"]} == {"R_r @ h[t-1]", "R_z @ h[t-1]", "R_n @ h[t-1]"}


def test_exact_scan_coefficients():
    c = component(scalar_cell("a * h[t-1] + b * x"))
    assert c["scan"] == {"columns": ["h[t-1]"], "a": [["a"]], "b": [c["streams"][0]]}
    text = of(scalar_cell("a * h[t-1] + b * x")).text
    assert "h[t] = A * h[t-1] + B" in text and "A  = a" in text, "the page's letters are not the program's"


def test_max_plus_scan_is_told_as_one():
    text = of(scalar_cell("max(h[t-1] + a, x)")).text
    assert re.search(r"h\[t\] = max\(A \+ h\[t-1\], B\)|h\[t\] = max\(a \+ h\[t-1\], b\)", text)


def test_time_invariance():
    assert component(scalar_cell("a * h[t-1] + x"))["time_invariant"]
    assert not component(scalar_cell("x * h[t-1] + x"))["time_invariant"]


def test_a_state_without_a_past():
    (cell,) = of(scalar_cell("tanh(x)")).data["cells"]
    (c,) = cell["components"]
    assert c["schedules"] == ["all steps at once"] and c["cost"] is None
    assert "no recurrence" in of(scalar_cell("tanh(x)")).text


# Growth


@pytest.mark.parametrize(
    ("equation", "declared", "low", "high"),
    [
        ("sigmoid(x) * h[t-1] + x", "param a: [D]", 0, 1),
        ("(1 - sigmoid(x)) * h[t-1] + sigmoid(x) * x", "param a: [D]", 0, 1),
        ("a * h[t-1] + x", "param a: [D] in (-3, 2)", 0, 3),
        ("1.5 * h[t-1] + x", "param a: [D]", 1.5, 1.5),
        ("tanh(h[t-1]) + x", "param a: [D]", 0, 1),
        ("0.25 * tanh(2 * h[t-1]) + x", "param a: [D]", 0, 0.5),
        ("a * h[t-1] + x", "param a: [D]", 0, math.inf),
    ],
)
def test_size_of_the_derivative(equation, declared, low, high):
    (system,) = compiler.compiled(Source("c.rnn", scalar_cell(equation, declared))).systems
    (found,) = system.components[0].growth.values()
    assert found.low <= low + 1e-9 and found.high >= high - 1e-9, "sound"
    assert found.high == pytest.approx(high) if math.isfinite(high) else found.high == math.inf


def test_a_complex_factor_by_its_modulus():
    (entry,) = example("lru").data["cells"][0]["components"][0]["jacobian"]["entries"]
    assert entry["size_at_most"] == 1.0
    assert "at most 1 in size" in example("lru").text


def test_growth_is_never_below_what_sampling_finds():
    """Random values of everything that an entry reads, against its interval."""
    import random

    text = scalar_cell("(1 - z) * h[t-1] + z * tanh(b * h[t-1])\n", "param b: [D] in (-2, 2)").replace("  h[t]", "  z = sigmoid(x)\n  h[t]")
    (system,) = compiler.compiled(Source("c.rnn", text)).systems
    (found,) = system.components[0].growth.values()
    rng = random.Random(1)
    for _ in range(500):
        z, b, h = 1 / (1 + math.exp(-rng.gauss(0, 3))), rng.uniform(-2, 2), rng.uniform(-1, 1)
        assert abs(1 - z + z * b * (1 - math.tanh(b * h) ** 2)) <= found.high + 1e-9


@settings(max_examples=some(60), deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(cells())
def test_growth_holds_for_random_cells(cell):
    """|∂s'/∂s| by autograd, from states inside their boxes, against the intervals."""
    if " grad " in cell.text:  # autograd takes the surrogate
        return
    (system,) = compiler.compiled(Source("r.rnn", cell.text)).systems
    bounded = [c for c in system.components if any(math.isfinite(v.high) for v in c.growth.values())]
    if not bounded:
        return
    declared = system.plan.cell
    boxes = {s: b.box for c in system.components for s, b in c.bounds.items()}
    layer = getattr(rnndsl.load(cell.text), declared.name)(**{n: cell.sizes[n] for n in declared.sizes}).eval()
    torch.manual_seed(0)
    for scale in (0.3, 1.0, 3.0):
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.randn_like(p) * scale)
        shapes = [(v.type.is_complex, [int(d.evaluate(cell.sizes)) for d in v.type.heads + v.type.axes]) for v in declared.of_role("input")]
        inputs = [torch.randn(4, *shape, dtype=torch.complex64 if is_complex else torch.float32) for is_complex, shape in shapes]
        old = layer.initial_state(4)
        inside = {}
        for name in boxes:
            value = torch.randn_like(getattr(old, name)) * 2
            inside[name] = (value if value.is_complex() else value.clamp(boxes[name].low, boxes[name].high)).requires_grad_()
        new = layer.step(*inputs, state=old._replace(**inside))[1]
        for c in bounded:
            slots = {str(s.symbol): s for s in c.lanes.slots if s.lag == 1}
            for (state, symbol), size in c.growth.items():
                value = getattr(new, state)
                if symbol not in slots or value.is_complex() or not value.requires_grad:
                    continue
                (found,) = torch.autograd.grad(value.sum(), inside[slots[symbol].state], retain_graph=True, allow_unused=True)
                if found is not None and not found.is_complex() and found.isfinite().all() and found.numel():
                    assert size.low - 1e-4 <= found.abs().min() and found.abs().max() <= size.high * (1 + 1e-4) + 1e-6


def test_warnings():
    grows = of(scalar_cell("1.5 * h[t-1] + x")).data["cells"][0]["warnings"]
    assert grows == ["|∂h[t]/∂h[t-1]| is at least 1.5: the state grows at every step"]
    assert "can be as large as 3" in of(scalar_cell("a * h[t-1] + x", "param a: [D] in (-3, 2)")).text
    assert "nothing keeps" in of(scalar_cell("a * h[t-1] + x")).text
    for name in ("min_gru", "lru", "para_gru", "gru", "lif"):
        assert example(name).data["cells"][0]["warnings"] == []


# Costs


def test_counts_of_a_dense_cell():
    (system,) = compiler.compiled(api.read_source(ROOT / "examples" / "gru.rnn")).systems
    cost = cost_of_scan(system.components[0].scan)
    assert (size_text(cost.flops), size_text(cost.special)) == ("6*H^2 + 9*H", "3*H")
    assert (size_text(cost.forward_bytes), size_text(cost.backward_bytes)) == ("16*H", "32*H")


@pytest.mark.parametrize(
    ("equation", "flops", "special"),
    [
        ("h[t-1] + x", "D", "0"),
        ("tanh(h[t-1])", "0", "D"),
        ("h[t-1]^3 + h[t-1]", "3*D", "0"),
        ("h[t-1] * dot(a, h[t-1])", "3*D", "0"),
        ("softmax(h[t-1])", "3*D", "D"),
        ("logaddexp(h[t-1], x)", "4*D", "2*D"),
        ("(2 * dt) * h[t-1]", "D", "0"),
        ("heaviside(h[t-1]) - x", "2*D", "0"),
    ],
)
def test_counts_of_operations(equation, flops, special):
    cost = component(scalar_cell(equation))["cost"]
    assert (cost["flops"]["formula"], cost["special_functions"]["formula"]) == (flops, special)


def test_complex_values_move_twice_the_bytes():
    plain = HEAD + "  state h: [D]\n  h[t] = 0.5 * h[t-1] + x\n  output h\n"
    twice = HEAD + "  state h: complex [D]\n  h[t] = 0.5 * h[t-1] + x\n  output y = re(h[t])\n"
    assert component(plain)["cost"]["bytes_forward"]["formula"] == "8*D"
    assert component(twice)["cost"]["bytes_forward"]["formula"] == "12*D"


def test_a_repeat_counts_its_rounds():
    cost = example("rhn").data["cells"][0]["components"][0]["cost"]
    assert "H^2*L" in cost["flops"]["formula"]
    assert example("rhn", sizes={"L": 3, "H": 2, "D": 1}).data["cells"][0]["components"][0]["cost"]["special_functions"]["value"] == 12


def test_sizes_give_numbers():
    cost = example("para_gru", sizes={"H": 256}).data["cells"][0]["components"][0]["cost"]
    assert cost["flops"] == {"formula": "11*H", "value": 2816.0} and cost["intensity"] == 0.875
    assert "11*H = 2,816 operations" in example("para_gru", sizes={"H": 256}).text


def test_size_text():
    h, d = Dim.of("H"), Dim.of("D")
    assert size_text(h * h * Dim.of(8) + d - Dim.of(1)) == "8*H^2 + D - 1"
    assert size_text(h / Dim.of(2)) == "H/2" and size_text(Dim.of(0)) == "0"


# Schedules


@pytest.mark.parametrize(
    ("name", "schedules"),
    [
        ("para_gru", ["sequential", "newton"]),
        ("para_lstm", ["sequential", "newton"]),
        ("min_gru", ["exact scan", "sequential"]),
        ("lru", ["exact scan", "sequential"]),
        ("gru", ["sequential", "newton"]),
        ("slstm", ["sequential", "newton"]),
        ("gated_delta_net", ["sequential", "newton", "chunked"]),
        ("m2rnn", ["sequential", "newton"]),
        ("rhn", ["sequential", "newton"]),
    ],
)
def test_legal_schedules(name, schedules):
    assert example(name).data["cells"][0]["components"][0]["schedules"] == schedules


def test_more_slots_than_registers_hold():
    text = HEAD + "  state h: [D]\n  h[t] = tanh(h[t-1] + h[t-2] + h[t-3] + h[t-4] + h[t-5] + x)\n  output h\n"
    c = component(text, shape=(1, 9999), sizes={"D": 4})
    assert c["slots"] == 5 and c["schedules"] == ["sequential"] and "registers hold 4" in c["predicted"]["why"]


@pytest.mark.parametrize(
    ("shape", "width", "expected"),
    [((8, 4096), 256, "newton"), ((64, 4096), 256, "sequential"), ((1, 2), 256, "sequential"), ((1, 4096), 1_999, "newton")],
)
def test_predicted_schedule(shape, width, expected):
    p = example("para_gru", shape=shape, sizes={"H": width}).data["cells"][0]["components"][0]["predicted"]
    assert p["schedule"] == expected and "not measured" in p["model"]


def test_prediction_needs_the_width():
    found = example("para_gru", shape=(8, 4096))
    p = found.data["cells"][0]["components"][0]["predicted"]
    assert p["schedule"] is None and p["needs"] == ["H"]
    assert "give --size H=…" in found.text


def test_saved_tensors_are_streams_and_states():
    saved = example("para_gru").data["cells"][0]["components"][0]["saved"]
    assert [(s["name"], s["role"]) for s in saved] == [("W_z_x", "stream"), ("W_r_x", "stream"), ("W_n_x", "stream"), ("h", "state")]


def test_the_page_says_what_a_kernel_makes():
    """Of Mamba no matrix a step: neither the decay, which is made of vectors, nor what the states are read for."""
    found = example("zoo/mamba")
    (cell,) = found.data["cells"]
    assert [e["name"] for e in (*cell["hoisted"], *cell["after"]) if e["in_kernel"]] == ["h_in", "h_in2", "y_read"]
    assert [s["shape"] for s in cell["components"][0]["saved"]] == ["[K]", "[H]", "[H]", "[K]", "[H, K]"]
    assert "h_in: [H, K] = exp(-diag(s) @ A)  (in the kernel)" in found.text


def test_only_a_component_with_coefficients_is_an_exact_scan():
    text = HEAD + "  state z: complex [D]\n  z[t] = conj(z[t-1]) * 0.5 + x\n  output y = re(z[t])\n"
    (system,) = compiler.compiled(Source("c.rnn", text)).systems
    (c,) = system.components
    assert c.scan_form is not None or EXACT not in legal_schedules(c)


# Data


REQUIRED = {
    "name", "doc", "line", "header", "sizes", "inputs", "states", "functions", "equations", "once_a_call", "hoisted", "components",
    "after", "outputs", "cost", "shape", "warnings",
}  # fmt: skip
OF_COMPONENT = {
    "states", "structure", "family", "slots", "reason", "line", "time_invariant", "bounds", "jacobian", "scan", "chunks", "streams", "saved",
    "schedules", "predicted", "ranks", "cost", "equations", "warnings",
}  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_data_has_every_documented_key(path):
    data = explain(compiler.compiled(api.read_source(path))).data
    assert data["version"] == 1
    for cell in data["cells"]:
        assert cell.keys() == REQUIRED
        for c in cell["components"]:
            assert c.keys() == OF_COMPONENT
            assert c["structure"] in ("diagonal", "block", "head", "left", "right", "dense")
            assert c["family"] in ("affine", "max-plus", "log-semiring", "nonlinear")


def test_documentation_names_every_key():
    text = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    for key in REQUIRED | OF_COMPONENT:
        assert f"`{key}`" in text, key


# The command


def run(*arguments: str) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as e:
        return int(e.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.rnn").write_text(scalar_cell("tanh(a * h[t-1] + x)"))
    (tmp_path / "two.rnn").write_text(scalar_cell("a * h[t-1] + x") + scalar_cell("tanh(x + h[t-1])").replace("cell C", "cell E"))
    (tmp_path / "wrong.rnn").write_text(scalar_cell("y"))
    (tmp_path / "empty.rnn").write_text("# nothing\n")
    return tmp_path


def test_command_prints_pages(folder, capsys):
    assert run("explain", "two.rnn") == 0
    out = capsys.readouterr().out
    assert out.index("C(D, H, dt = 1)") < out.index("E(D, H, dt = 1)")
    assert run("explain", "two.rnn", "--cell", "E") == 0
    assert "C(D" not in capsys.readouterr().out


def test_command_prints_json(folder, capsys):
    assert run("explain", "c.rnn", "--json", "--shape", "2,100", "--size", "D=8") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["cells"][0]["shape"] == {"B": 2, "T": 100} and data["cells"][0]["sizes"] == {"D": 8, "H": None}


@pytest.mark.parametrize("name", ["wrong.rnn", "empty.rnn"])
def test_errors_are_those_of_check(folder, capsys, name):
    assert run("explain", name) == 1
    shown = capsys.readouterr()
    assert f"--> {name}:" in shown.err and shown.out == ""
    if name == "wrong.rnn":
        run("check", name)
        assert capsys.readouterr().err == shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cell", "Q"], "there is no cell Q; there is C"),
        (["--shape", "4"], "--shape 4"),
        (["--shape", "4,0"], "--shape 4,0"),
        (["--shape", "a,b"], "--shape a,b"),
        (["--size", "Q=3"], "there is no size Q; there is D, H"),
        (["--size", "H=0"], "at least 1"),
        (["--size", "H"], "--size H"),
        (["--size", "H=2", "H=3"], "given twice"),
        (["--picture", "out.gif"], ".png or a .svg"),
        (["--picture", "nowhere/out.png"], "nowhere/out.png"),
        (["--json", "--latex"], "not allowed"),
    ],
)
def test_misuse(folder, capsys, arguments, words):
    assert run("explain", "c.rnn", *arguments) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there(folder, capsys):
    assert run("explain", "none.rnn") == 2
    assert "none.rnn" in capsys.readouterr().err


def test_parsing_of_options():
    assert parse_shape(None) is None and parse_shape("8,4096") == (8, 4096)
    assert parse_sizes(["H=2", "D=3", "H=2"]) == {"H": 2, "D": 3}


def test_help_has_examples(capsys):
    assert run("explain", "--help") == 0
    assert "--shape 8,4096 --size H=256" in capsys.readouterr().out


# Dumps


@pytest.mark.parametrize("stage", STAGES)
def test_dump(folder, capsys, stage):
    assert run("compile", "c.rnn", "--dump", stage) == 0
    out = capsys.readouterr().out
    words = {"ast": "CellDef", "cell": "param a: [D]", "plan": "scan h", "system": "component h", "graph": "Newton's matrix", "kernels": "EXPORT void h_forward", "triton": "def h__newton(", "module": "class C(Layer)"}
    assert words[stage] in out and not (folder / "c.py").exists()


@pytest.mark.parametrize("name", FEATURES)
def test_dump_of_every_feature(name):
    found = compiler.compiled(Source("f.rnn", program(name)))
    for stage in ("ast", "cell", "plan", "system", "graph", "kernels", "triton"):
        assert dump(found, stage).endswith("\n"), stage


def test_dump_refuses(folder, capsys):
    assert run("compile", "c.rnn", "--dump", "nothing") == 2
    assert run("compile", "c.rnn", "--dump", "plan", "-o", "x.py") == 2
    assert run("compile", "wrong.rnn", "--dump", "plan") == 1
    with pytest.raises(ValueError, match="there are ast"):
        dump(compiler.compiled(Source("c.rnn", scalar_cell("x"))), "nothing")


@pytest.mark.parametrize(
    "text",
    ["a * (b + x)", "(a - b) - x", "a - (b - x)", "-(a * b)", "(-a)^2", "a / (b * x)", "a^b^x", "(a^b)^x", "(a + b) * x", "a < b"],
)
def test_expression_text_keeps_its_meaning(text):
    """Text of an expression parses to the same expression."""

    def value(t: str):
        (cell,) = compiler.compiled(Source("c.rnn", scalar_cell(f"({t}) + 0 * h[t-1]"))).program.cells
        return cell.body[-1].value

    first = value(text)
    shown = expr_text(first.args[0], lambda r: r.name)
    assert value(shown) == first


# LaTeX


def balanced(text: str) -> None:
    """Brackets match, and nothing is left that LaTeX would stumble over."""
    bare = re.sub(r"\\[\\{}_ ,;!%&]", "", "\n".join(line for line in text.splitlines() if not line.startswith("%")))
    depth = 0
    for c in bare:
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\left") - text.count(r"\leftarrow") == text.count(r"\right")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert not re.search(r"_(?!\{)", bare), re.findall(r".{20}_(?!\{).{5}", bare)
    assert not re.search(r"\^\{[^{}]*\}\^|_\{[^{}]*\}_", bare), "double subscript"
    assert bare.isascii()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_latex_of_an_example(path):
    found = explain(compiler.compiled(api.read_source(path)))
    balanced(found.latex)
    balanced(found._repr_latex_())
    assert r"\frac{\partial" in found.latex and r"\begin{align*}" in found.latex


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("W_z", "W_{z}"), ("beta", r"\beta"), ("β", r"\beta{}"), ("gain", r"\mathit{gain}"), ("A_log", r"A_{\mathit{log}}"), ("W1", "W_{1}"),
        ("a_b_c", "a_{b,c}"), ("x", "x"), ("lambda_max", r"\lambda_{\mathit{max}}"), ("Gamma", r"\Gamma"), ("é", r"\text{\'{e}}"),
        ("_h", "h"), ("__", r"\mathit{\_\_}"),
    ],
)  # fmt: skip
def test_latex_names(name, expected):
    assert LatexNames()(name) == expected


def test_latex_names_stay_apart():
    names = LatexNames()
    assert names("W_1") == "W_{1}" and names("W1") == r"\mathit{W1}"
    assert names.at("h", "t-1") == "h_{t-1}" and names.at("h_a", "t") == r"h_{a,\,t}"


def test_latex_tells_scalars_from_vectors():
    latex = of(scalar_cell("dt * a * h[t-1] + x")).latex
    assert r"\mathit{dt} \cdot a \odot h_{t-1} + x_{t}" in latex
    assert r"\mathit{dt} \cdot \tanh" in of(scalar_cell("dt * tanh(h[t-1] + x)")).latex
    assert r"2 \, \tanh" in of(scalar_cell("2 * tanh(h[t-1] + x)")).latex


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "zoo").glob("*.rnn")), ids=lambda p: p.stem)
def test_latex_has_no_two_superscripts_in_a_row(path):
    (cell,) = explain(compiler.compiled(api.read_source(path))).cells
    assert not re.search(r"\^(\w|\{[^{}]*\})\^", cell.latex)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed; the text itself is checked above")
def test_latex_compiles(tmp_path):
    body = "\n".join(explain(compiler.compiled(api.read_source(p))).latex for p in EXAMPLES)
    document = f"\\documentclass{{article}}\\usepackage{{amsmath}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "a.tex").write_text(document)
    subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True, capture_output=True)


# Pictures


def test_graph_of_a_chain():
    text = HEAD + "  state a, b: [D]\n  param p: [D]\n  a[t] = tanh(a[t-1] * p + x)\n  b[t] = 0.5 * b[t-1] + a[t-1] * x\n  output y = b[t] + x\n"
    (system,) = compiler.compiled(Source("c.rnn", text)).systems
    graph = state_graph(system)
    edges = {(e.source, e.target, e.recurrent) for e in graph.edges}
    assert {("state a", "state a", True), ("state b", "state b", True), ("input x", "state a", False)} <= edges
    assert ("state a", "stream b.in", True) in edges and ("stream b.in", "state b", False) in edges
    assert ("state b", "output y", False) in edges and ("input x", "output y", False) in edges
    assert graph.nodes["stream b.in"].text == "b_in"
    assert all(len(c) for c in graph.columns)


@pytest.mark.parametrize("name", FEATURES)
def test_graph_of_every_feature(name):
    for system in compiler.compiled(Source("f.rnn", program(name))).systems:
        graph = state_graph(system)
        assert {k for c in graph.columns for k in c} == graph.nodes.keys()
        assert all(e.source in graph.nodes and e.target in graph.nodes for e in graph.edges)


def bends(points):
    """Points along an edge as it is drawn."""
    corners, codes = curve(points)
    at, n = corners[0], 1
    while n < len(corners):
        degree = codes[n] - 1  # a line, or a curve with one control point or two
        knots = [at, *corners[n : n + degree]]
        for step in range(21):
            level = knots
            while len(level) > 1:
                level = [tuple(p + (q - p) * step / 20 for p, q in zip(a, b, strict=True)) for a, b in pairwise(level)]
            yield level[0]
        at, n = corners[n + degree - 1], n + degree


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", [*FEATURES, *ZOO])
def test_no_edge_goes_behind_a_box(name):
    text = program(name) if name in FEATURES else ZOO[name].text
    for system in compiler.compiled(Source("f.rnn", text)).systems:
        graph = state_graph(system)
        placed = layout(graph)
        assert placed.boxes.keys() == graph.nodes.keys() and [r.edge for r in placed.routes] == list(graph.edges)
        for a, b in combinations(placed.boxes.values(), 2):
            assert abs(a.x - b.x) >= a.half + b.half or abs(a.y - b.y) > TALL
        for route in placed.routes:
            for x, y in bends(route.points):
                assert 0 <= x <= placed.wide and 0 <= y <= placed.high
                for key, box in placed.boxes.items():
                    deep = min(box.half - abs(x - box.x), TALL / 2 - abs(y - box.y))
                    assert deep <= (1e-6 if key in (route.edge.source, route.edge.target) else 0), (route, key)


def test_the_legend_names_what_there_is():
    def names(text: str, wide: float = 9.0) -> list[str]:
        (system,) = compiler.compiled(Source("c.rnn", text)).systems
        lines = legend(state_graph(system), True, wide)
        assert all(sum(w for *_, w in line) <= wide for line in lines)
        return [kind for line in lines for kind, *_ in line]

    plain = HEAD + "  state h: [D]\n  h[t] = tanh(h[t-1] + x)\n  output h\n"
    noisy = plain.replace("  h[t]", "  noise m: [D] ~ bernoulli(0.9)\n  h[t]").replace("+ x", "+ x * m")
    assert "noise" not in names(plain) and {"input", "state", "output", "before", "own", "mixed"} <= set(names(plain))
    assert "noise" in names(noisy) and names(noisy) == names(noisy, 4.0)
    (system,) = compiler.compiled(Source("c.rnn", noisy)).systems
    graph = state_graph(system)
    assert (graph.nodes["input m"].label, graph.nodes["output h"].label, graph.nodes["state h"].label) == ("~ m", "→ h", "h")


def test_a_notebook_shows_the_picture_and_a_fixed_width():
    found = rnndsl.explain(scalar_cell("tanh(a * h[t-1] + x)"))
    html = found._repr_html_()
    assert all("monospace" in tag for tag in re.findall(r"<pre[^>]*>", html)) and "<pre" in html
    if importlib.util.find_spec("matplotlib"):
        (svg,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
        assert ET.fromstring(base64.b64decode(svg)).tag.endswith("svg")


def test_a_notebook_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    html = rnndsl.explain(scalar_cell("tanh(a * h[t-1] + x)"))._repr_html_()
    assert "<img" not in html and "<pre" in html


def test_blocks_of_structures():
    def pixels(name: str) -> list[list[int]]:
        (system,) = compiler.compiled(api.read_source(ROOT / "examples" / f"{name}.rnn")).systems
        c = system.components[0]
        return block(c, *blocks(c)[0][0])

    assert all(row[i] == 2 and sum(row) == 2 for i, row in enumerate(pixels("para_gru")))
    assert all(p for row in pixels("gru") for p in row)
    assert sum(p == 1 for row in pixels("m2rnn") for p in row) < 144 / 2 < sum(p > 0 for row in pixels("cfc") for p in row)
    assert pixels("m2rnn") != pixels("gated_delta_net")


def test_picture_files(folder, capsys):
    pytest.importorskip("matplotlib")
    assert run("explain", "c.rnn", "--picture", "out.png") == 0
    assert capsys.readouterr().out == "wrote out.png\n"
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG") and (folder / "out.png").stat().st_size > 5000
    assert run("explain", "c.rnn", "--picture", "out.svg") == 0
    assert ET.parse(folder / "out.svg").getroot().tag.endswith("svg")
    assert run("explain", "two.rnn", "--picture", "out.png") == 2
    assert "--cell: C, E" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["slstm", "rhn", "lru"])
def test_pictures_of_examples(name, tmp_path):
    pytest.importorskip("matplotlib")
    example(name).cells[0].picture(tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


def test_without_matplotlib(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("explain", "c.rnn", "--picture", "out.png") == 2
    assert "rnndsl[plot]" in capsys.readouterr().err


# From Python


def test_explanation_from_python():
    found = rnndsl.explain(scalar_cell("tanh(a * h[t-1] + x)"), shape=(2, 128), sizes={"D": 4})
    assert str(found) == found.text and found.data["cells"][0]["name"] == "C"
    assert found._repr_latex_().startswith("$") and found._repr_latex_().endswith("$")
    with pytest.raises(rnndsl.RnnError, match="not defined"):
        rnndsl.explain(scalar_cell("y"))
    with pytest.raises(ValueError, match="no cell Q"):
        rnndsl.explain(scalar_cell("x"), "Q")


def test_html_is_well_formed_and_escaped():
    html = rnndsl.explain(scalar_cell("where(h[t-1] < x, a, b)"))._repr_html_()
    assert ET.fromstring(html).tag == "div" and "h[t-1] &lt; x" in html


def test_layers_of_a_loaded_module_show_their_page():
    cells = rnndsl.load(scalar_cell("tanh(a * h[t-1] + x)"))
    layer = cells.C(3, 5)
    assert "C(D, H, dt = 1)" in layer._repr_html_() and "= 3 special functions" in layer._repr_html_()
    assert repr(layer).startswith("C(")


def test_shown_names_are_steady():
    (cell,) = compiler.compiled(Source("c.rnn", scalar_cell("x"))).program.cells
    shown = Shown(cell)
    assert shown("z.in") == shown("z.in") == "z_in" and shown("z.in2") == "z_in2" and shown("z_in.") == "z_in_2" and shown("a") == "a"


@pytest.mark.parametrize("name", ["gru", "slstm"])
def test_explain_needs_no_torch(name):
    """A fresh process explains a cell without torch."""
    code = (
        "import sys; from rnndsl import cli\n"
        f"assert cli.main(['explain', {str(ROOT / 'examples' / f'{name}.rnn')!r}]) == 0\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules, 'imported in vain'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)


def test_a_layer_shows_its_equations_as_latex():
    path = ROOT / "examples" / "para_gru.rnn"
    layer = rnndsl.load(path).ParaGRU(D=2, H=3)
    assert layer._repr_latex_() == rnndsl.explain(path, sizes={"D": 2, "H": 3})._repr_latex_()


def test_ranks_as_a_layer_plans_them(capsys):
    """Each recurrence has what `layer.plan_for` says of it, on the page and in the data; others have nothing."""
    given = {"D": 3, "H": 4}
    found = rnndsl.explain(LAGS, shape=(2, 16), sizes=given, ranks=8)
    (cell,) = found.data["cells"]
    plans = rnndsl.load(LAGS).Lags(**given).plan_for(torch.zeros(2, 16, 3), ranks=8)
    assert [c["ranks"] and c["ranks"]["text"] for c in cell["components"]] == [None, None, *(p.ranks for p in plans)]
    for c in cell["components"][2:]:
        assert c["ranks"]["ranks"] == 8 and c["ranks"]["bytes"] > 0 and " ".join(c["ranks"]["text"].split()) in " ".join(found.text.split())
    assert {c["ranks"] for c in rnndsl.explain(LAGS, shape=(2, 16), sizes=given).data["cells"][0]["components"]} == {None}
    for wrong in ({"sizes": given}, {"shape": (2, 16), "sizes": {"D": 3}}):
        with pytest.raises(ValueError, match=r"Lags needs --shape B,T"):
            rnndsl.explain(LAGS, ranks=8, **wrong)
    with pytest.raises(ValueError, match="from 2 on"):
        rnndsl.explain(LAGS, shape=(2, 16), sizes=given, ranks=1)
    assert cli.main(["explain", str(ROOT / "examples" / "gru.rnn"), "--shape", "2,16", "--size", "D=3", "H=4", "--ranks", "8"]) == 0
    assert "pipeline over 8 ranks" in capsys.readouterr().out
