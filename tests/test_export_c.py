"""Layers as C headers: what they compute, against the layer in double precision, and that no compiler has anything to say of them."""

import copy
import ctypes
import dataclasses
import json
import re
import shutil
import subprocess

import pytest
import torch

import rnndsl
from rnndsl.checks.cell import Cell
from rnndsl.cli import main
from rnndsl.compiler import compiled
from rnndsl.diagnostics import Source
from rnndsl.export.c.build import CORTEX_M4, STRICT
from rnndsl.export.c.header import Header, header, run, snake_case, vectors
from rnndsl.export.c.report import relative
from rnndsl.export.c.text import C, Functions, operation
from rnndsl.functions import FUNCTIONS, OPERATIONS, OPERATORS
from tests import many_cells, random_programs
from tests.features import FEATURES, program
from tests.features import SIZES as FEATURE_SIZES
from tests.many_cells import many
from tests.zoo_cells import ZOO

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SIZES = {"D": 3, "H": 4, "N": 2, "K": 3, "V": 5, "B": 5, "L": 3}
BOUNDS = {"float": 1e-6, "double": 1e-12}  # of the largest output
STEPS = 6


def cell_of(text: str, name: str) -> Cell:
    return next(c for c in compiled(Source("cells.rnn", text)).program.cells if c.name == name)


def layer_of(text: str, name: str, **sizes: int):
    """A layer whose weights are all random numbers, also those that begin as zeros; sizes that do not fit are tried even."""
    made = getattr(rnndsl.load(text), name)
    cell = cell_of(text, name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for trial in ({}, {"N": 4}, {"H": 6}, {"H": 8, "K": 4, "V": 4}):
            torch.manual_seed(0)
            try:
                layer = made(**{n: (SIZES | trial | sizes).get(n, 2) for n in cell.sizes}, backend="reference").eval()
                for p in layer.parameters():
                    p.add_(0.2 * torch.randn_like(p))
                for v in cell.of_role("const"):
                    if v.value is None:
                        getattr(layer, v.name).normal_().mul_(0.3)
                layer(*(torch.zeros(1, 1, *s, dtype=torch.complex64 if c else None) for _, s, c in layer._inputs))
                return layer
            except (ValueError, RuntimeError) as e:
                problem = e
    raise problem


class Built:
    """Headers in one library."""

    def __init__(self, headers: list[Header], folder, *flags: str, compiler: str = "gcc"):
        lines = []
        for h in headers:
            (folder / f"{h.prefix}.h").write_text(h.text, encoding="utf-8")
            lines += [f"#define {h.prefix.upper()}_SELF_TEST", f'#include "{h.prefix}.h"']
        for h in headers:
            values = [*(f"const {h.real} *" for _ in h.face.inputs), *(f"{h.real} *" for _ in h.face.outputs)]
            parameters, arguments = ("".join(f", {t}a{k}" for k, t in enumerate(kinds)) for kinds in (values, [""] * len(values)))
            p = h.prefix
            for signature, body in (
                (f"unsigned long run_{p}_size(void)", f"return sizeof({p}_state);"),
                (f"void run_{p}_init(void *s)", f"{p}_init(({p}_state *)s);"),
                (f"void run_{p}_step(void *s{parameters})", f"{p}_step(({p}_state *)s{arguments});"),
                (f"int run_{p}_self_test(void)", f"return {p}_self_test();"),
            ):
                lines += [f"{signature};", f"{signature} {{ {body} }}"]
        (folder / "all.c").write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run(
            [compiler, *STRICT, *flags, "-fPIC", "-shared", "-o", "all.so", "all.c", "-lm"], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[:5000]
        self.library = ctypes.CDLL(str(folder / "all.so"))

    def __call__(self, h: Header, inputs):
        """Outputs of some steps, [T, reals] each."""
        step, size = (getattr(self.library, f"run_{h.prefix}_{what}") for what in ("step", "size"))
        size.restype = ctypes.c_ulong
        state = ctypes.create_string_buffer(size() + 16)
        getattr(self.library, f"run_{h.prefix}_init")(state)
        dtype = torch.float32 if h.real == "float" else torch.float64
        given = [x.to(dtype).contiguous() for x in inputs]
        made = [torch.full((len(inputs[0]) if inputs else STEPS, v.count), 12345.0, dtype=dtype) for v in h.face.outputs]
        for t in range(len(made[0])):
            step(state, *(ctypes.c_void_p(x[t].data_ptr()) for x in (*given, *made)))
        return [y.double() for y in made]

    def self_test(self, h: Header) -> int:
        return getattr(self.library, f"run_{h.prefix}_self_test")()


def assert_agrees(built: Built, h: Header, bound: float) -> None:
    inputs, wanted = vectors(h.face, h.reference, STEPS, seed=7)
    error = relative(built(h, inputs), wanted)
    if error > bound and h.real == "float":  # some cells make more of small errors: PyTorch's float32 then has them too
        bound = 10 * relative(run(copy.deepcopy(h.exact).float(), h.face, [x.float() for x in inputs]), wanted)
    assert error <= bound, h.prefix
    assert built.self_test(h) == 0, h.prefix


@needs_gcc
@pytest.mark.parametrize("part", range(6))
def test_the_zoo(part, tmp_path):
    """Every cell in float, and every other one in double."""
    headers = []
    for i, name in enumerate(list(ZOO)[part::6]):
        layer = layer_of(ZOO[name].text, name)
        headers += [header(layer, f"{snake_case(name)}_{real}", real) for real in list(BOUNDS)[: 2 - i % 2]]
    built = Built(headers, tmp_path, "-O1")
    for h in headers:
        assert_agrees(built, h, BOUNDS[h.real])


GRU = ZOO["GRU"].text
HOSTILE = r"""
cell Int(for_, D):
  "*/ #error out of the comment ??/ \"
  input int: [D]     # */ #error ??/ \
  input s, scratch: [D]
  state h: [D] = h_initial
  state NAN, h_, i0, j0: [D]
  state linux: complex [D]
  param h_initial, size, I, expf: [D]
  param W, W_re, W_scales, R: [D, D]
  param σ, u3c3: [D]
  param INFINITY: complex [D, D]
  const EOF: [D] = 2
  v = W @ int + W_re @ s + W_scales @ scratch
  v_2 = v * EOF + size * I
  h[t] = tanh(v_2 + h[t-1] * expf + σ * u3c3) * for_ / for_
  NAN[t] = h[t-1] + NAN[t-2] * 0.1 + sum(v)
  h_[t] = sigmoid(NAN[t] + R @ h_[t-1])
  i0[t] = h_[t] * 0.5 + i0[t-1] * 0.1
  j0[t] = i0[t] + j0[t-1] * 0.1
  linux[t] = INFINITY @ linux[t-1] * 0.2 + int + 1j * s
  output main = j0[t], signed = linux[t], int = h[t], y = v_2
"""


def compiles(h: Header, folder, *command: str) -> None:
    (folder / f"{h.prefix}.h").write_text(h.text, encoding="utf-8")
    (folder / "one.c").write_text(f'#define {h.prefix.upper()}_SELF_TEST\n#include "{h.prefix}.h"\nint main(void) {{ return {h.prefix}_self_test(); }}\n')
    done = subprocess.run([*command, "-o", "one", "one.c", "-lm"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[:3000]
    assert subprocess.run([str(folder / "one")], timeout=60).returncode == 0


@needs_gcc
def test_no_name_or_comment_of_a_program_breaks_out(tmp_path):
    """Names are those of C's keywords and macros, of what the header calls its own, and of each other with an underscore more."""
    source = Source("*/ #error.rnn", HOSTILE)
    layer = rnndsl.load(HOSTILE, name=source.name).Int(2, 3)
    h = header(layer, "w")
    assert "?\x3f/" not in h.text and "*/ #error" not in h.text
    assert_agrees(Built([h], tmp_path, "-O1"), h, BOUNDS["float"])
    names = rnndsl.load(HOSTILE).Int(2, 3)
    assert header(names).prefix == "int" and header(names, "for").prefix == "for"
    for wrong in ("", "1a", "a b", "a__b", "a_", "é", "a;"):
        with pytest.raises(ValueError, match="prefix"):
            header(names, wrong)


FURTHER = ("-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Wundef", "-Wstrict-prototypes")
COMPILERS = [
    ("gcc", *STRICT, *FURTHER, "-O3"), ("gcc", *STRICT, "-Os", "-ffreestanding"), ("clang", *STRICT, *FURTHER, "-O2"),
    ("g++", "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMPILERS, ids=" ".join)
def test_compilers_have_nothing_to_say(command, tmp_path):
    """In C, and in C++, which an Arduino sketch is."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    text = GRU + "\n" + HOSTILE
    compiles(header(rnndsl.load(text).Int(2, 3)), tmp_path, *command)
    compiles(header(rnndsl.load(text).GRU(3, 4), "gru", int8=True), tmp_path, *command)


# int8


@needs_gcc
@pytest.mark.parametrize("name", ["GRU", "LSTM", "LRU", "RHN", "GatedDeltaNet", "ExpRNN", "LMU", "SLSTM"])
def test_int8(name, tmp_path):
    """What is computed is the layer whose weights are those that int8 stands for; each is at most half a unit of its row off."""
    layer = layer_of(ZOO[name].text, name)
    h, plain = header(layer, "q", int8=True), header(layer, "p")
    assert_agrees(Built([h], tmp_path, "-O1"), h, BOUNDS["float"])
    assert h.int8 and h.constant_bytes < plain.constant_bytes
    for n in h.int8:
        exact, held = (torch.view_as_real(t).movedim(-1, 0) if t.is_complex() else t for t in (getattr(h.exact, n), getattr(h.reference, n)))
        unit = exact.abs().amax(-1, keepdim=True) / 127
        assert bool(((exact - held).abs() <= 0.501 * unit).all()) and not torch.equal(exact, held)
    for n, p in h.exact.named_parameters():
        if n not in h.int8:
            assert torch.equal(p, dict(h.reference.named_parameters())[n])


def test_int8_holds_what_only_products_read():
    text = """
cell Both(D, H):
  input x: [D]
  state h: [H]
  state S: [H, D]
  param W, A, V: [H, D]
  param R: [H, H] > 0
  S[t] = tanh(A) * S[t-1] + A * outer(h[t-1], x)
  h[t] = tanh(W @ x + R @ h[t-1] + S[t] @ x + 2 * V @ x)
  output h
"""
    assert header(rnndsl.load(text).Both(3, 4), int8=True).int8 == ("W", "V")
    layer = rnndsl.load(text).Both(3, 4)
    with torch.no_grad():
        layer.V[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"V: .*infinity"):
        header(layer, int8=True)
    with pytest.raises(ValueError, match="float"):
        header(layer, real="double", int8=True)


def test_what_float_cannot_hold_is_an_error():
    layer = rnndsl.load(GRU).GRU(3, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.b_r[1] = 1e300
    with pytest.raises(ValueError, match="1e\\+300 is too large for float"):
        header(layer)
    assert "1e+300" in header(layer, real="double").text


# Stacks


STACKED = """
cell Low(D, H):
  input x: [D]
  input dt: []
  state h: [H]
  param W: [H, D]
  h[t] = 0.5 * h[t-1] + dt * tanh(W @ x)
  output h, y = h[t] + 1
cell High(D, H):
  input x: complex [D]
  input gate: [H]
  state h: complex [H]
  param a: complex [H]
  param B: complex [H, D]
  h[t] = 0.5 * a * h[t-1] + gate * B @ x
  output h
"""


@needs_gcc
def test_stacks(tmp_path):
    """Layers of one cell, and of several with further inputs, an output of several that goes up, real values that go into a complex layer."""
    cells = rnndsl.load(STACKED)
    torch.manual_seed(0)
    nets = [
        rnndsl.nn.Recurrent(rnndsl.load(GRU), {"D": 3, "H": 4}, num_layers=3),
        rnndsl.nn.Recurrent([cells.Low, cells.Low, cells.High], [{"D": 2, "H": 3}, {"D": 3, "H": 5}, {"D": 5, "H": 2}], output="y"),
        rnndsl.nn.Recurrent(rnndsl.load(GRU), {"D": 3, "H": 4}),
    ]
    headers = [header(net, f"{p}_{real}", real) for net, p in zip(nets, ("three", "mixed", "one"), strict=True) for real in BOUNDS]
    built = Built(headers, tmp_path, "-O1")
    for h in headers:
        assert_agrees(built, h, BOUNDS[h.real])
    assert [v.name for v in headers[2].face.inputs] == ["x", "dt", "gate"]
    with pytest.raises(ValueError, match="both directions"):
        header(rnndsl.nn.Recurrent(rnndsl.load(GRU), {"D": 3, "H": 4}, bidirectional=True))


def test_what_is_no_layer_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"expected one of a generated class, or a rnndsl\.nn\.Recurrent"):
        header(torch.nn.GRU(3, 4))
    (tmp_path / "module.py").write_text(rnndsl.compile(GRU))
    scope: dict = {"__name__": "somewhere"}
    exec((tmp_path / "module.py").read_text(), scope)
    assert header(scope["GRU"](3, 4)).text
    scope["GRU"]._program = None  # as an earlier version made it
    with pytest.raises(TypeError, match="text of its program"):
        header(scope["GRU"](3, 4))


# A microcontroller

STARTUP = """
int main(void);
static void finish(long code) {
  volatile unsigned long block[2] = {0x20026, (unsigned long)code};
  register unsigned long r0 __asm__("r0") = 0x20;
  register volatile unsigned long *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
  for (;;) {}
}
void start(void) {
  *(volatile unsigned long *)0xE000ED88 |= 0xFul << 20;  /* the FPU on */
  __asm__ volatile("dsb\\nisb");
  finish(main());
}
void fault(void) { finish(99); }
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
  (void (*)(void))0x20040000, start, fault, fault, fault, fault, fault
};
"""
EMULATED = ("arm-none-eabi-gcc", "qemu-system-arm")
ON_BOARD = ["GRU", "LSTM", "LRU", "RHN", "GatedDeltaNet", "SLSTM", "Mamba", "RWKV4", "LIF", "PhasedLSTM", "ClockworkRNN", "CfC"]


def run_on_cortex_m4(headers: list[Header], folder) -> int:
    """How many headers compute other numbers on an emulated board with a Cortex-M4, whose floating-point unit has single precision; 99 after a fault."""
    lines = [line for h in headers for line in (f"#define {h.prefix.upper()}_SELF_TEST", f'#include "{h.prefix}.h"')]
    for h in headers:
        (folder / f"{h.prefix}.h").write_text(h.text, encoding="utf-8")
    calls = " + ".join(f"({h.prefix}_self_test() != 0)" for h in headers)
    (folder / "main.c").write_text("\n".join([*lines, f"int main(void) {{ return {calls}; }}", ""]), encoding="utf-8")
    (folder / "start.c").write_text(STARTUP)
    place = ("-Wl,--section-start=.vectors=0x0", "-Wl,-Ttext=0x100", "-Wl,-Tdata=0x20000000")
    library = ("-nostartfiles", "--specs=nosys.specs", *place, "-Wl,-e,start", "-Wl,--no-warn-rwx-segments", "-lm", "-lc", "-lgcc")
    for source in (("main.c", *STRICT), ("start.c", "-std=gnu99")):
        done = subprocess.run(["arm-none-eabi-gcc", *CORTEX_M4, *source[1:], "-O2", "-c", source[0]], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[:3000]
    done = subprocess.run(["arm-none-eabi-gcc", *CORTEX_M4, "-o", "a.elf", "start.o", "main.o", *library], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[:3000]
    board = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
    return subprocess.run([*board, "-kernel", "a.elf"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=120).returncode


@pytest.mark.skipif(not all(map(shutil.which, EMULATED)), reason=f"needs {' and '.join(EMULATED)}")
def test_a_cortex_m4(tmp_path):
    """Cells, a stack, weights in int8; and that the self-test finds what is wrong."""
    layers = {name: layer_of(ZOO[name].text, name) for name in ON_BOARD}
    headers = [header(layer, snake_case(name)) for name, layer in layers.items()]
    headers.append(header(rnndsl.nn.Recurrent(rnndsl.load(GRU), {"D": 3, "H": 4}, num_layers=2), "stack"))
    headers.append(header(layers["LSTM"], "small", int8=True))
    assert run_on_cortex_m4(headers, tmp_path) == 0
    wrong = dataclasses.replace(headers[0], text=headers[0].text.replace("tanhf", "atanf"))
    assert run_on_cortex_m4([wrong, headers[1]], tmp_path) == 1


# Files and commands


@pytest.fixture
def gru(tmp_path):
    """A program, a layer of it, and its weights in a file."""
    (tmp_path / "gru.rnn").write_text(GRU)
    torch.manual_seed(3)
    layer = rnndsl.load(GRU).GRU(3, 4)
    torch.save(layer.state_dict(), tmp_path / "gru.pt")
    return layer


def command(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def test_the_command(gru, tmp_path, capsys):
    """It writes what `export_c` writes, and says what that takes."""
    there = tmp_path / "src" / "deep"
    common = (tmp_path / "gru.rnn", "--c", "-o", there, "--size", "D=3", "H=4", "--weights", tmp_path / "gru.pt")
    assert command("export", *common) == 0
    said = capsys.readouterr().out
    assert "400 bytes of weights" in said and "84 multiply-accumulates" in said and "drawn with seed 0" not in said
    report = rnndsl.export_c(gru, tmp_path, "gru")
    assert [line for line in (tmp_path / "gru.h").read_text().splitlines() if "static const float" in line] == [
        line for line in (there / "gru.h").read_text().splitlines() if "static const float" in line
    ]
    assert (report.error is None) == (shutil.which("gcc") is None and shutil.which("cc") is None) and (report.error or 0) < 1e-6
    assert command("export", *common, "--int8", "--prefix", "small", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["prefix"] == "small" and data["int8"] == ["W_r", "W_z", "W_n", "R_r", "R_z", "R_n"] and 0 < data["int8_error"] < 0.1
    assert data["weight_bytes"] == 6 * 4 * 4 + 3 * 12 + 3 * 16 + 4 * 4 * 4 and (there / "small.h").is_file()  # scales, W, R, biases
    assert command("export", tmp_path / "gru.rnn", "--c", "-o", there, "--size", "D=3", "H=4", "--double") == 0
    assert "double" in (there / "gru.h").read_text() and "drawn with seed 0" in capsys.readouterr().out
    stack = rnndsl.nn.Recurrent(rnndsl.load(GRU), {"D": 3, "H": 4}, num_layers=2)
    torch.save(stack.state_dict(), tmp_path / "stack.pt")
    two = (tmp_path / "gru.rnn", "--c", "-o", there, "--size", "D=3", "H=4", "--layers", "2", "--weights", tmp_path / "stack.pt", "--prefix", "two")
    assert command("export", *two) == 0 and "two_1_step(&s->layer1" in (there / "two.h").read_text()


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_weights_that_do_not_fit(gru, tmp_path, capsys):
    common = ("export", tmp_path / "gru.rnn", "--c", "-o", tmp_path, "--size", "D=3", "H=4", "--weights", tmp_path / "w.pt")
    full = gru.state_dict()
    cases = {
        "missing: \"b_r\"": {n: t for n, t in full.items() if n != "b_r"},
        'not in the cell: "W_q"': full | {"W_q": torch.zeros(3)},
        "W_r: it is [5, 3] in the file, and here [4, 3]": full | {"W_r": torch.zeros(5, 3)},
        "W_r is complex there": full | {"W_r": torch.zeros(4, 3, dtype=torch.complex64)},
        "got list": [1, 2],
        "'a', which is int": {"a": 1},
        "an empty one": {},
    }
    for said, held in cases.items():
        torch.save(held, tmp_path / "w.pt")
        assert command(*common) == 2
        assert said in capsys.readouterr().err
    torch.save(Evil(), tmp_path / "w.pt")
    assert command(*common) == 2
    out = capsys.readouterr()
    assert "run" not in out.out and "state_dict" in out.err
    (tmp_path / "w.pt").write_bytes(b"nothing")
    assert command(*common) == 2 and "state_dict" in capsys.readouterr().err
    (tmp_path / "w.pt").unlink()
    assert command(*common) == 2 and "no such file" in capsys.readouterr().err
    assert not (tmp_path / "gru.h").exists()


def test_arguments_that_do_not_fit(gru, tmp_path, capsys):
    program, out = tmp_path / "gru.rnn", ("--c", "-o", tmp_path / "src")
    full = (*out, "--size", "D=3", "H=4")
    for arguments, said in {
        ("-o", tmp_path): "--c",
        (*out, "--size", "D=3"): "--size H=",
        (*full, "K=3"): "has no K",
        (*full, "--hyper", "dt=1"): "has no dt",
        (*full, "--hyper", "dt=a"): "a name and a number",
        (*full, "--prefix", "1"): "prefix",
        (*full, "--layers", "0"): "from 1 on",
        (*full, "--double", "--int8"): "float",
        (*full, "--cell", "LSTM"): "there is no cell LSTM",
        (*out[:2], program, *full[3:]): "is the program itself",
    }.items():
        assert command("export", program, *arguments) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "src").mkdir(exist_ok=True)
    (tmp_path / "src" / "gru.h").write_text("/* mine */\n")
    assert command("export", program, *full) == 2 and "was not made by rnndsl" in capsys.readouterr().err
    assert (tmp_path / "src" / "gru.h").read_text() == "/* mine */\n"
    assert command("export", tmp_path / "none.rnn", *full) == 2


@needs_gcc
def test_sizes_hypers_and_the_step_number(tmp_path):
    """Hyperparameters as they were given; one of each size; positions beyond an int of 16 bits; the number of the step, and lags."""
    clock = """
cell Clock(D, H, rate = 0.5):
  input x: [D]
  state h: [H]
  param W: [H, D]
  h[t] = h[t-1] * rate + W @ x[t-2] * mod(t, 3) + h[t-3]
  output h, n = t
"""
    made = rnndsl.load(clock).Clock
    layers = {"plain": made(3, 4, rate=0.25), "ones": made(1, 1), "large": made(3, 12000)}
    headers = [header(layer, name, "double") for name, layer in layers.items()]
    assert "int i0" in headers[0].text and "long i0" in headers[2].text
    built = Built(headers, tmp_path, "-O1")
    for h in headers:
        assert_agrees(built, h, BOUNDS["double"])


@needs_gcc
def test_what_is_long_or_deep(tmp_path):
    """Counters beyond an int of 16 bits are long, beyond one of 32 an error; what is nested deeply is no harder here than for the compiler."""
    text = "cell A(D):\n  input x: [D]\n  v = x\n  repeat k in {}..{}:\n    v = tanh(v) + 1 / k\n  end\n  output v\n"
    far, near = (header(rnndsl.load(text.format(n, n + 3)).A(2), name) for n, name in ((10**6, "far"), (5, "near")))
    assert "for (long k_ = 1000000;" in far.text and "for (int k_ = 5;" in near.text
    with pytest.raises(ValueError, match="count to 10,000,000,000"):
        header(rnndsl.load(text.format(10**10 - 3, 10**10 - 1)).A(2))
    deep = header(rnndsl.load(f"cell A(D):\n  input x: [D]\n  output y = {'tanh(1 - ' * 45}x{')' * 45}\n").A(2), "deep")
    built = Built([far, near, deep], tmp_path, "-O0")
    for h in (far, near, deep):
        assert_agrees(built, h, BOUNDS["float"])


def test_nothing_else_is_written_or_asked_for():
    """A header reads <math.h> and <stdint.h>, takes no memory, and every array of its own is constant."""
    for name in ("GRU", "RHN", "SLSTM"):
        text = re.sub(r"/\*.*?\*/", "", header(layer_of(ZOO[name].text, name)).text, flags=re.S)
        assert re.findall(r"#include (\S+)", text) == ["<math.h>", "<stdint.h>"] and not re.search(r"malloc|printf|FILE", text)
        assert all(line.startswith(("static const ", "static inline ")) for line in text.splitlines() if line.startswith("static"))


def test_every_operation_has_a_function():
    """Whatever a graph may call, C has a form for; a graph is of reals."""
    for op, row in ((op, row) for op, row in OPERATIONS.items() if op not in ("re", "im", "conj")):
        args = [C(f"a{i}") for i in range(len(row.parameters))]
        assert operation(op, args, Functions("float", "p")).code


EDGES = [
    *(sign * v for v in (0.0, 0.5, 1.0, 1.5, 2.5, 20.0, 90.0, 104.0, 800.0, 1e-3, 1e-7, 1e-30, 1e30, float("inf")) for sign in (1, -1)), float("nan"), 1e-40,
]  # fmt: skip


@needs_gcc
@pytest.mark.parametrize("real", BOUNDS)
def test_functions_at_their_edges(real, tmp_path):
    """Every function of entries gives what PyTorch gives in this precision: of zeros with a sign, of what overflows and vanishes, of infinities and NaN."""
    rows = [row for row in FUNCTIONS.values() if row.shape == "elementwise" and row.name not in ("re", "im", "conj")]
    calls = [f"{row.name}({', '.join('xyz'[: len(row.parameters)])})" for row in rows] + [f"x {op} y" for op in OPERATORS if op != "neg"]
    calls += [f"x^{n}" for n in (2, -2, 17, 2.5, 0.5, -0.5)]
    text = "cell E(D):\n  input x, y, z: [D]\n  output " + ", ".join(f"o{i} = {call}" for i, call in enumerate(calls)) + "\n"
    h = header(rnndsl.load(text).E(1), "edges", real)
    points = torch.tensor([(a, b, EDGES[(7 * i + 3 * j) % len(EDGES)]) for i, a in enumerate(EDGES) for j, b in enumerate(EDGES)]).float().double()
    inputs = [points[:, k : k + 1] for k in range(3)]
    dtype = {"float": torch.float32, "double": torch.float64}[real]
    exact = run(copy.deepcopy(h.exact).to(dtype), h.face, [x.to(dtype) for x in inputs])
    for call, got, wanted in zip(calls, Built([h], tmp_path, "-O1")(h, inputs), exact, strict=True):
        same = (got == wanted) | (got.isnan() & wanted.isnan()) | ((got - wanted).abs() <= 30 * torch.finfo(dtype).eps * wanted.abs() + torch.finfo(dtype).tiny)
        assert bool(same.all()), (call, points[~same.flatten()][:3], got[~same][:3], wanted[~same][:3])


@needs_gcc
def test_random_programs(tmp_path):
    """Programs that nobody wrote, and some forms of the language."""
    programs = [(r.text, "Random", r.sizes) for r in map(random_programs.program, range(6))]
    programs += [(many(i), "Many", many_cells.SIZES) for i in range(6)] + [(program(n), "C", FEATURE_SIZES) for n in list(FEATURES)[::3]]
    headers = []
    for i, (text, name, sizes) in enumerate(programs):
        headers.append(header(layer_of(text, name, **sizes), f"c{i}", "double"))
    built = Built(headers, tmp_path, "-O0")
    for h in headers:
        assert_agrees(built, h, 1e-9)  # some are far from tame
