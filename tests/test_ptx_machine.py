"""The emulator itself: what is wrong in a kernel is reported, and what it does not know is an error that names it."""

import re

import pytest
import torch

from tests.agreement import layer_of, random_inputs, sizes_of, some_resets
from tests.ptx.kernel import PtxKernel, Report
from tests.ptx.launches import emulated
from tests.ptx.native import compiler
from tests.ptx.source import Unknown
from tests.test_triton import example

triton = pytest.importorskip("triton")
pytestmark = pytest.mark.skipif(compiler() is None, reason="the emulator needs a C++ compiler")

HEAD = """.version 8.0
.target sm_90
.address_size 64
.extern .shared .align 16 .b8 global_smem[];
.visible .entry k(.param .u64 out, .param .u64 in) .reqntid {threads}, 1, 1
{{
	.reg .pred %p<9>;
	.reg .b16 %rs<9>;
	.reg .b32 %r<99>;
	.reg .b64 %rd<99>;
	ld.param.u64 %rd1, [out];
	ld.param.u64 %rd2, [in];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	shl.b32 %r3, %r1, 2;
	cvt.u64.u32 %rd3, %r3;
	add.s64 %rd4, %rd1, %rd3;
	add.s64 %rd5, %rd2, %rd3;
{body}
	ret;

}}
"""


def run(body: str, threads: int = 64, grid: int = 1, out: torch.Tensor | None = None, given: torch.Tensor | None = None, shared: int = 1024, **settings) -> tuple[Report, torch.Tensor]:
    """Runs statements that find their thread in %r1, four times it in %r3, their program in %r2, and their words of two tensors at %rd4, %rd5."""
    out = torch.zeros(128, dtype=torch.int32) if out is None else out
    given = torch.arange(128, dtype=torch.int32) if given is None else given
    kernel = PtxKernel(HEAD.format(threads=threads, body=body))
    return kernel((grid, 1, 1), [out, given], shared, **settings), out


def wrong(body: str, **settings) -> set[str]:
    return set(run(body, **settings)[0].wrong)


LOAD, STORE = "ld.global.b32 %r4, [%rd5];", "st.global.b32 [%rd4], %r4;"


def test_a_kernel_in_which_nothing_is_wrong():
    report, out = run(f"{LOAD} mul.lo.s32 %r4, %r4, 3; {STORE}")
    assert not report.wrong and report.first == ""
    assert out[:64].tolist() == [3 * i for i in range(64)] and not out[64:].any()
    assert (report.loads, report.stores, report.barriers) == (64, 64, 0)


def test_rounding_to_tf32():
    """To ten bits of the fraction, ties away from zero; what is not finite stays."""
    given = torch.zeros(128)
    given[:6] = torch.tensor([1 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-12, 1 + 2.0**-10, float("inf"), float("nan")])
    _, out = run(f"{LOAD} cvt.rna.tf32.f32 %r4, %r4; {STORE}", given=given.view(torch.int32))
    assert out[:5].view(torch.float32).tolist() == [1 + 2.0**-10, -1 - 2.0**-10, 1.0, 1 + 2.0**-10, float("inf")] and out[5:6].view(torch.float32).isnan()


def test_noise_moves_what_is_approximate_and_nothing_else():
    """By up to so many units in the last place, either way."""
    given = (torch.rand(128, generator=torch.Generator().manual_seed(0)) + 1).view(torch.int32)
    for statement, is_exact in (
        ("div.full.f32 %r4, %r4, 0f40400000;", False), ("div.rn.f32 %r4, %r4, 0f40400000;", True), ("ex2.approx.ftz.f32 %r4, %r4;", False),
        ("sqrt.approx.ftz.f32 %r4, %r4;", False), ("sqrt.rn.f32 %r4, %r4;", True), ("rsqrt.approx.ftz.f32 %r4, %r4;", False),
        ("rcp.approx.ftz.f32 %r4, %r4;", False), ("rcp.rn.f32 %r4, %r4;", True), ("lg2.approx.f32 %r4, %r4;", False), ("fma.rn.f32 %r4, %r4, %r4, %r4;", True),
    ):  # fmt: skip
        plain, moved = (run(f"{LOAD} {statement} {STORE}", given=given, noise=noise)[1] for noise in (0, 3))
        assert plain[:64].view(torch.float32).isfinite().all()
        assert set((moved - plain)[:64].tolist()) == ({0} if is_exact else set(range(-3, 4))), statement


def test_noise_leaves_what_is_promised():
    """2 to the power of zero, and the cosine of it."""
    for statement in ("ex2.approx.ftz.f32", "ex2.approx.f32", "cos.approx.f32"):
        for zero in ("0f00000000", "0f80000000"):
            _, out = run(f"mov.b32 %r4, {zero}; {statement} %r4, %r4; {STORE}", noise=3)
            assert out[:64].view(torch.float32).eq(1).all(), (statement, zero)


def test_halves_of_products():
    """Upper halves, of 16 bits too, against Python."""
    for kind, values in (("u16", (65_535, 9_363, 7)), ("s16", (-32_768, 9_363, -7)), ("u32", (2**32 - 1, 7)), ("s32", (-(2**31), 12_345))):
        bits = int(kind[1:])
        for x in values:
            for y in values:
                _, out = run(f"mov.b{bits} %{{0}}4, {x}; mov.b{bits} %{{0}}5, {y}; mul.hi.{kind} %{{0}}4, %{{0}}4, %{{0}}5; ".format("rs" if bits == 16 else "r") + ("cvt.u32.u16 %r4, %rs4; " if bits == 16 else "") + STORE)
                assert int(out[0]) % 2**bits == (x * y >> bits) % 2**bits, (kind, x, y)


@pytest.mark.parametrize("by", [4, 1])
def test_out_of_bounds(by):
    """By a word, and by a single byte."""
    out = torch.zeros(64 * 4 - by, dtype=torch.uint8)
    report, _ = run(f"{LOAD} {STORE}", out=out)
    assert report.out_of_bounds == 1 and "out of bounds" in report.first
    assert wrong("ld.shared.b32 %r4, [%r3+1024];") == {"out_of_bounds"}


def test_misalignment():
    assert wrong("ld.global.b32 %r4, [%rd5+2];", given=torch.zeros(128, dtype=torch.int32)) == {"misaligned"}
    assert "misaligned" in wrong("ld.global.v2.b32 {%r4, %r5}, [%rd5];")


EXCHANGE = "st.shared.b32 [%r3], %r1; {} xor.b32 %r5, %r3, {}; ld.shared.b32 %r4, [%r5]; " + STORE


def test_a_race_between_warps():
    assert wrong(EXCHANGE.format("bar.sync 0;", 128)) == set()
    assert "race_shared" in wrong(EXCHANGE.format("bar.warp.sync -1;", 128), seed=1) | wrong(EXCHANGE.format("bar.warp.sync -1;", 128), seed=2)


def test_a_race_between_lanes_of_a_warp():
    assert wrong(EXCHANGE.format("bar.warp.sync -1;", 4)) == set()
    assert wrong(EXCHANGE.format("", 4)) == {"race_shared_warp"}


def test_a_race_between_bytes_that_are_neighbours_is_none():
    """Watching is by bytes; two lanes that write one byte race."""
    body = "cvt.u64.u32 %rd6, {}; add.s64 %rd7, %rd1, %rd6; st.global.u8 [%rd7], %r1;"
    assert wrong(body.format("%r1")) == set()
    assert "race_global_block" in wrong("shr.u32 %r6, %r1, 1; " + body.format("%r6") + " and.b32 %r7, %r1, 31; cvt.u64.u32 %rd6, %r7; add.s64 %rd7, %rd1, %rd6; st.global.u8 [%rd7], %r1;")


def test_a_race_between_programs():
    assert "race_global_cta" in wrong("st.global.b32 [%rd1], %r2;", threads=32, grid=4, resident=4)
    assert wrong("red.relaxed.gpu.global.add.s32 [%rd1], %r2;", threads=32, grid=4, resident=4) == set()


def test_shared_memory_that_nothing_has_written():
    assert wrong(f"ld.shared.b32 %r4, [%r3]; {STORE}") == {"unwritten"}


def test_divergence():
    """A barrier that half a warp reaches, a shuffle from a lane that is not there, an exit before a barrier."""
    half = "and.b32 %r6, %r1, 1; setp.eq.s32 %p1, %r6, 0; @%p1 bra $L; {} $L:"
    assert "diverged" in wrong(half.format("bar.sync 0;"))
    assert "diverged" in wrong(half.format("shfl.sync.bfly.b32 %r7, %r1, 1, 31, -1;"))
    assert "diverged" in wrong("setp.gt.u32 %p1, %r1, 31; @%p1 bra $L; bar.sync 0; $L:")


def test_a_loop_that_does_not_end():
    assert wrong("$L: bra $L;", max_steps=100) == {"stuck"}


COPY = "add.s32 %r6, %r3, 0; cp.async.ca.shared.global [%r6], [%rd5], 4; cp.async.commit_group; {} bar.sync 0; ld.shared.b32 %r4, [%r6]; " + STORE


def test_asynchronous_copies():
    report, out = run(COPY.format("cp.async.wait_group 0;"))
    assert not report.wrong and report.copies == 64 and out[:64].tolist() == list(range(64))
    assert "unfinished" in wrong(COPY.format(""))
    assert "unfinished" in wrong(COPY.format("cp.async.wait_group 1;"))
    two = "cp.async.ca.shared.global [%r3+512], [%rd5], 4; cp.async.commit_group;"
    assert wrong(COPY.format(two + "cp.async.wait_group 1;")) == set()
    assert wrong("cp.async.ca.shared.global [%r3], [%rd5], 4, 0; cp.async.wait_all; " + f"ld.shared.b32 %r4, [%r3]; {STORE}") == set()


@pytest.mark.parametrize(("kind", "shape", "dtype"), [("bf16", "m16n8k16", torch.bfloat16), ("f16", "m16n8k16", torch.float16), ("f16", "m16n8k8", torch.float16), ("tf32", "m16n8k8", torch.float32), ("tf32", "m16n8k4", torch.float32)])
def test_products_of_matrices(kind, shape, dtype):
    """Against PyTorch: fragments are put together here from matrices of small whole numbers, which every type holds exactly."""
    depth = int(shape[6:])
    per, lanes = (1 if kind == "tf32" else 2), torch.arange(32)
    a = torch.randint(-8, 9, (16, depth), generator=torch.Generator().manual_seed(0))
    b = torch.randint(-8, 9, (depth, 8), generator=torch.Generator().manual_seed(1))
    g, t, block = lanes // 4, lanes % 4, 4 * per

    def words(values: list[torch.Tensor]) -> torch.Tensor:
        """What the lanes hold in one register: `per` values each."""
        return torch.stack(values, 1).to(dtype).contiguous().view(torch.int32).flatten()

    of_a = [words([a[g + 8 * (i % 2), per * t + h + block * (i // 2)] for h in range(per)]) for i in range(2 * depth // block)]
    of_b = [words([b[per * t + h + block * i, g] for h in range(per)]) for i in range(depth // block)]
    names = [f"%r{10 + i}" for i in range(len(of_a) + len(of_b))]
    loads = " ".join(f"ld.global.b32 {name}, [%rd5+{128 * i}];" for i, name in enumerate(names))
    stores = " ".join(f"st.global.b32 [%rd4+{128 * i}], %r{30 + i};" for i in range(4))
    registers = f"{{%r30, %r31, %r32, %r33}}, {{{', '.join(names[: len(of_a)])}}}, {{{', '.join(names[len(of_a) :])}}}, {{0f3F800000, 0f3F800000, 0f3F800000, 0f3F800000}}"
    report, out = run(f"{loads} mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {registers}; {stores}", 32, given=torch.cat([*of_a, *of_b]))
    assert not report.wrong
    got, found = torch.zeros(16, 8), out.view(torch.float32).reshape(4, 32)
    for i in range(4):
        got[g + 8 * (i // 2), 2 * t + i % 2] = found[i]
    assert torch.equal(got, (a @ b + 1).float())


@pytest.mark.parametrize(
    "statement", ["wgmma.fence.sync.aligned;", "cp.async.bulk.commit_group;", "add.sat.s32 %r4, %r4, 1;", "bar.sync 1, 32;", "mov.u32 %r4, %clock;", "ld.b32 %r4, [%rd5];", "cvt.rz.f32.f64 %r4, %rd4;", "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1}, {%r1}, {%r1}, {%r1};"],
)  # fmt: skip
def test_what_is_not_known_is_an_error_that_names_it(statement):
    with pytest.raises(Unknown, match=re.escape(statement.rstrip(";"))):
        run(statement)


# Kernels that Triton compiles


def forward_and_back(name: str, **tiles: int) -> None:
    """Twice, the second time with a NaN, so that chunks are run step by step too."""
    text, cell = example(name)
    torch.manual_seed(0)
    layer = layer_of(text, cell, sizes_of(text, cell), backend="triton", schedule="newton", dtype=torch.float32)
    layer.tiles = tiles
    (x,) = random_inputs(layer, 2, 37)
    spoiled = x.detach().clone()
    spoiled[0, 20] = torch.nan
    for given in (x, spoiled.requires_grad_()):
        y, _ = layer(given, reset=some_resets(2, 37))
        y.sum().backward()


@pytest.mark.ptx
@pytest.mark.part("min_gru")
@pytest.mark.parametrize("name", ["para_gru", "min_gru"])
def test_every_barrier_that_is_taken_out_is_noticed(name):
    """Each in turn, of the parallel kernels in both directions, with four warps."""
    tiles = {"channels": 8, "lanes": 16, "lane_steps": 2, "warps": 4}
    texts: list[str] = []
    unnoticed = []
    with emulated() as launches:
        launches.edit = lambda text: texts.append(text) or text
        forward_and_back(name, **tiles)
        assert not launches.wrong
        assert len(set(texts)) == 2
        for text in dict.fromkeys(texts):
            places = list(re.finditer(r"^\s*bar\.sync\s+0;", text, re.M))
            assert len(places) > 4
            for place in places:
                launches.clear()
                without = text[: place.start()] + text[place.end() :]
                launches.edit = lambda given, text=text, without=without: without if given == text else given
                forward_and_back(name, **tiles)
                if not any(key.startswith(("race", "unwritten")) for said in launches.wrong.values() for key in said):
                    unnoticed.append(place)
    assert not unnoticed


@pytest.mark.ptx
def test_a_barrier_across_programs():
    """Right as it is, with every program resident; without the release, the acquire or the barrier around it, reported."""
    from tests.ptx.grid_barrier import averaged

    def seen(edit) -> tuple[dict, torch.Tensor]:
        h, flag = torch.zeros(2 * 5 * 64), torch.zeros(1, dtype=torch.int32)
        with emulated(seed=3) as launches:
            launches.edit = edit
            averaged[(5,)](h, flag, 4, P=5, BLOCK=64, num_warps=2)
        return launches.wrong, h

    found, h = seen(None)
    assert not found and torch.equal(h[:320], torch.full((320,), 1.875))
    for pattern, instead in ((r"release", "relaxed"), (r"acquire", "relaxed"), (r"^\s*bar\.sync\s+0;", "")):
        found, _ = seen(lambda text, pattern=pattern, instead=instead: re.sub(pattern, instead, text, flags=re.M))
        assert any(key.startswith("race") for said in found.values() for key in said), pattern


@pytest.mark.ptx
def test_what_is_not_initialised_is_nan_inside_and_all_is_as_before_outside():
    from triton.runtime.driver import driver

    before = driver._active
    with emulated():
        assert torch.empty(8).isnan().all()
    assert driver._active is before and not torch.are_deterministic_algorithms_enabled()
