"""The tables of devices, their sources, what the model chooses with them, and the scripts that fill them. No GPU, no time."""

import json
import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnndsl import cli
from rnndsl.devices import COSTS, ENTRIES, GENERAL, SOURCES, USUAL, of_architecture, of_gpu, read, tables
from rnndsl.tiles import (
    PARALLEL,
    SEQUENTIAL,
    WARP,
    Tiles,
    Work,
    candidates,
    choose,
    cycles,
    fits,
    needed_registers,
    needed_shared,
    resident,
    step_cycles,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import fit as fitting  # noqa: E402
import sass  # noqa: E402

GRU = Work(True, False, 1, 3, {"step": (17, 3), "linear": (38, 3), "slopes": (37, 3), "pullback": (38, 3)})
LSTM = Work(True, False, 2, 4, {"step": (19, 4), "linear": (51, 4), "slopes": (51, 4), "pullback": (51, 4)})
SCAN = Work(True, True, 2, 2, {"step": (8, 0), "coefficients": (2, 0), "slopes": (4, 0), "pullback": (13, 0)})
WIDE = Work(False, False, 4, 9, {"step": (300, 20), "pullback": (900, 40)})
WORKS = (GRU, LSTM, SCAN, WIDE)
KNOWN = ("sm_80", "sm_90", "gfx942")
DEVICES = [of_architecture(a) for a in (*KNOWN, "nothing")]
CHANNELS, STEPS = (1, 256, 2048, 5_999, 65_536, 1 << 20), (1, 16, 4096, 131_072)


# The tables


@pytest.mark.parametrize("name", sorted(tables()))
def test_every_entry_has_a_source_and_a_value_that_makes_sense(name):
    for entry, (value, source) in tables()[name].entries.items():
        word, _, where = source.partition(":")
        assert word in SOURCES and (word in ("assumed", "driver") or len(where) > 8), f"{name}.{entry}: {source}"
        numbers = value if entry in COSTS else [value]
        assert len(numbers) == (4 if entry in COSTS else 1) and all(n >= 0 for n in numbers)
        assert entry in COSTS or value > 0
        folder = {"measured": "results", "machine code": "counts"}.get(word)
        assert folder is None or (ROOT / "benchmarks" / folder / where.split(",")[0].strip()).exists(), f"{where}: no such file"


def test_the_general_table_says_everything_and_claims_nothing():
    assert set(tables()[GENERAL].entries) == set(ENTRIES) and {s for _, s in tables()[GENERAL].entries.values()} == {"assumed"}


@pytest.mark.parametrize("architecture", KNOWN)
def test_a_device_says_where_each_entry_comes_from(architecture):
    device = of_architecture(architecture)
    assert set(device.sources) == set(ENTRIES)
    assert set(device.assumed) == {n for n, s in device.sources.items() if s == "assumed"}
    assert device.table in str(device) and "assumed" in str(device)


@pytest.mark.parametrize(
    ("text", "message"), [("watts = [1, 'assumed']", "no entry watts"), ("clock = [1e9, '']", "clock has no source"), ("clock = [1e9]", "clock has no source")]
)
def test_a_table_with_a_mistake_is_refused(tmp_path, text, message):
    (tmp_path / "x.toml").write_text(f"title = 'x'\n[entries]\n{text}\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "x.toml")


# Which table a device gets


@pytest.mark.parametrize(
    ("name", "architecture", "table"),
    [
        ("NVIDIA H100 80GB HBM3", "sm_90", "NVIDIA H100 (sm_90)"), ("NVIDIA H100 PCIe", "sm_90", "NVIDIA H100 (sm_90)"), ("NVIDIA GH200 480GB", "sm_90", "NVIDIA H100 (sm_90)"),
        ("NVIDIA H200", "sm_90", "NVIDIA H200 (sm_90)"), ("NVIDIA A100-SXM4-80GB", "sm_80", "NVIDIA A100 (sm_80)"), ("AMD Instinct MI300X", "gfx942", "AMD MI300X (gfx942)"),
        ("NVIDIA GeForce RTX 5090", "sm_120", "general"), ("NVIDIA L4", "sm_89", "general"), ("AMD Instinct MI250X", "gfx90a", "general"), ("", "", "general"),
    ],
)  # fmt: skip
def test_devices_get_the_table_of_their_name_or_architecture(name, architecture, table):
    found = of_gpu(name, architecture)
    assert (found.name, found.table) == (name, table)
    assert (f"{len(ENTRIES)} of {len(ENTRIES)} assumed" in str(found)) == (table == "general")


def test_what_the_driver_tells_goes_before_data_sheets_and_behind_measurements():
    found = of_gpu("NVIDIA H100 PCIe", "sm_90", {"processors": 114.0, "bandwidth": 2.04e12})
    assert (found.processors, found.sources["processors"], found.sources["bandwidth"]) == (114, "driver", "driver")
    assert found.forward_cycles == of_architecture("sm_90").forward_cycles


def test_a_driver_that_tells_little_is_enough(monkeypatch):
    torch = pytest.importorskip("torch")
    from rnndsl.runtime import gpu

    for properties, table in ((SimpleNamespace(name="NVIDIA GeForce RTX 5090", major=12, minor=0, multi_processor_count=170), "general"),
                              (SimpleNamespace(name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, clock_rate=1_980_000, memory_clock_rate=0, memory_bus_width=0), "NVIDIA H200 (sm_90)")):  # fmt: skip
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, p=properties: p)
        found = gpu.device_of.__wrapped__(torch.device("cuda", 0))
        assert (found.table, found.name, found.processors) == (table, properties.name, properties.multi_processor_count)
        assert found.clock > 1e9 and found.bandwidth > 1e11


def test_the_page_of_explain_names_the_table(capsys):
    assert cli.main(["explain", str(ROOT / "examples" / "para_gru.rnn"), "--shape", "8,4096", "--size", "H=256"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"not measured: {of_architecture(USUAL)};" in said


# What the model chooses


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.table)
@pytest.mark.parametrize("backward", [False, True])
def test_what_is_chosen_fits(device, backward):
    """Into registers and shared memory, and no more programs are counted at once than do."""
    for work, channels, steps in product(WORKS, CHANNELS, STEPS):
        tiles = choose(work, channels, steps, device, backward=backward)
        some_fit = any(fits(work, t, device, backward) for t in candidates(work, channels, steps, warp=int(device.warp)))
        assert fits(work, tiles, device, backward) or not some_fit
        at_once = resident(work, tiles, device, backward)
        assert at_once == 1 or at_once * tiles.warps * device.warp * needed_registers(work, tiles, device, backward) <= device.registers
        assert at_once == 1 or at_once * needed_shared(work, tiles) <= device.shared
        assert at_once * tiles.warps <= max(device.warps, tiles.warps) and at_once <= device.programs


def test_few_registers_and_little_memory_change_the_choice():
    device = of_architecture(USUAL)
    deep = choose(WIDE, 4096, 4096, device, backward=True)
    small = replace(device, thread_registers=needed_registers(WIDE, replace(deep, ahead=2), device, True))
    assert choose(WIDE, 4096, 4096, small, backward=True).ahead == 2
    many = choose(LSTM, 64, 131_072, replace(device, shared=1.0))
    assert many.warps == 1, "scans that cross warps need shared memory"


@pytest.mark.parametrize("device", DEVICES, ids=lambda d: d.table)
@pytest.mark.parametrize("backward", [False, True])
def test_what_must_grow_grows(device, backward):
    """More channels take no less time and fill no fewer programs with the same tiles; more steps take longer; once many channels make the
    sequential schedule the faster one, more of them do too."""
    for work in WORKS:
        for tiles in candidates(work, 4096, 4096, warp=int(device.warp)):
            times = [cycles(work, tiles, c, 4096, device, backward) for c in CHANNELS]
            assert times == sorted(times), tiles
            times = [cycles(work, tiles, 4096, t, device, backward) for t in STEPS]
            assert times == sorted(times), tiles
        schedules = [choose(work, c, 4096, device, backward=backward).schedule for c in (1, 64, 512, 4096, 32_768, 262_144)]
        assert schedules == sorted(schedules), "parallel first, then sequential"


def test_a_faster_device_is_predicted_to_be_faster():
    device = of_architecture(USUAL)
    for work, channels, steps in product(WORKS, CHANNELS, STEPS):
        for better in (replace(device, processors=264), replace(device, memory_latency=300), replace(device, bandwidth=9e12), replace(device, registers=131_072)):
            best, usual = (cycles(work, choose(work, channels, steps, d), channels, steps, d) for d in (better, device))
            assert best <= usual


def test_streams_of_more_steps_are_on_their_way_where_memory_is_far():
    device = of_architecture(USUAL)
    assert choose(GRU, 256, 4096, device, "sequential").ahead == 8
    assert choose(GRU, 256, 4096, replace(device, memory_latency=50.0), "sequential").ahead <= 8
    assert choose(GRU, 256, 2, device, "sequential").ahead == 2, "steps behind the last one are run too"
    assert step_cycles(GRU, Tiles(SEQUENTIAL, WARP, ahead=8), device) < step_cycles(GRU, Tiles(SEQUENTIAL, WARP, ahead=4), device)


def test_a_wide_warp_is_filled():
    device = of_architecture("gfx942")
    for work, channels in product(WORKS, CHANNELS):
        tiles = choose(work, channels, 4096, device)
        assert tiles.channels * tiles.lanes >= 64 * tiles.warps


# Machine code

LOOP = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;      /* 0x0000000000000000 */
                                                               /* 0x000fe20000000f00 */
.L_x_1:
        /*0010*/                   MUFU.EX2 R2, R2 ;           /* 0x0000000000000000 */
                                                               /* {mufu} */
        /*0020*/              @P0  FADD R2, R2, 1 ;            /* 0x0000000000000000 */
                                                               /* {add} */
        /*0030*/              @!P1 BRA `(.L_x_1) ;             /* 0x0000000000000000 */
                                                               /* {branch} */
        /*0040*/                   EXIT ;                      /* 0x0000000000000000 */
                                                               /* 0x000fea0003800000 */
"""


def word(stall: int, write: int = 7, read: int = 7, wait: int = 0) -> str:
    return f"0x{stall << 41 | write << 46 | read << 49 | wait << 52:016x}"


def loop_cycles(latency: float, **words: str) -> float:
    code = sass.instructions(LOOP.replace("{mufu}", words["mufu"]).replace("{add}", words["add"]).replace("{branch}", words["branch"]))
    (loop,) = sass.loops(code)
    assert [x.name for x in sass.path(code, loop)] == ["MUFU", "FADD", "BRA"]
    return sass.cycles(sass.path(code, loop), {"MUFU": latency}, apart=8.0, other=12.0)


def test_cycles_are_stalls_and_waits_for_what_is_not_there_yet():
    plain = {"mufu": word(2), "add": word(4), "branch": word(5)}
    assert loop_cycles(20, **plain) == 2 + 4 + 5
    waits = plain | {"mufu": word(2, write=0), "add": word(4, wait=1)}
    assert loop_cycles(20, **waits) == 20 + 4 + 5
    assert loop_cycles(40, **waits) == 40 + 4 + 5
    assert loop_cycles(20, mufu=word(1), add=word(1), branch=word(1)) == 8, "special functions are that far apart"


def test_a_way_through_a_loop_goes_round_what_is_shut():
    at = partial(sass.Instruction, stall=1, write=7, read=7, wait=0)
    code = [at("MOV"), at("@P0 BRA", target=4), at("FADD"), at("@P1 BRA", target=2), at("FMUL"), at("@P2 BRA", target=0), at("EXIT")]
    outer, inner = sass.loops(code)
    assert inner in outer and [x.text for x in sass.path(code, outer, [inner])] == ["MOV", "@P0 BRA", "FMUL", "@P2 BRA"]
    straight = [at("MOV"), at("FADD"), at("@P2 BRA", target=0)]
    assert sass.path(straight, sass.Loop(0, (2,)), [sass.Loop(1, (1,))]) == [] and sass.path(straight, sass.Loop(0, (2,))) == straight


# Filling the tables


def made_up_counts() -> list[dict]:
    """Rows of cycles.py of kernels that keep to the model exactly."""
    rows = []
    for n, (work, direction, ahead) in enumerate(product(WORKS, ("forward", "backward"), (1, 2, 4, 8))):
        operations, special = work.functions["step" if direction == "forward" else "pullback"]
        columns = (work.streams + work.slots) * (2 if direction == "backward" else 1)
        computing = 7 + 2 * (operations - special) + 30 * special + 11 * columns
        waiting = max(computing, 600 / ahead) + 0.4 * min(computing, 600 / ahead)
        about = {"recurrence": f"r{n}", "target": "sm_90", "slots": work.slots, "streams": work.streams, "functions": work.functions, "memory": 600.0}
        cut = {"channels": 32, "ahead": ahead, "lanes": 1, "lane_steps": 1, "warps": 1}
        needs = {"registers": 20 + ahead * columns, "shared": 0}
        rows.append({**about, **cut, **needs, "kernel": direction, "part": "step", "computing": computing, "waiting": waiting, "instructions": computing / 2, "special": 0})
        if not work.is_parallel or ahead == 1:
            continue
        name = next(k for k in ("slopes", "linear", "coefficients") if k in work.functions and (k == "slopes") == (direction == "backward"))
        operations, special = work.functions[name]
        for warps, lane_steps in product((1, 4), (1, 4)):
            lanes = 4 * warps * ahead // 2
            scan = (lanes - 1).bit_length() * work.slots * (work.slots + 1) * 9 + 300 * (warps > 1)
            turn = 90 + lane_steps * (3 * (operations - special) + 25 * special) + scan
            cut = {"channels": 8, "ahead": 4, "lanes": lanes, "lane_steps": lane_steps, "warps": warps}
            parts = {"round": turn} if name == "linear" else {}
            for part, value in (parts | {"chunk": turn + 200 + lane_steps * computing}).items():
                more = {"computing": value, "waiting": value, "instructions": value / 2, "special": 0}
                rows.append({**about, **cut, **needs, "kernel": f"parallel {direction}", "part": part, **more})
    return rows


def test_counts_are_recovered(tmp_path):
    folder = copied(tmp_path)
    file = tmp_path / "counts.json"
    file.write_text(json.dumps(made_up_counts()))
    before = (folder / "sm_90.toml").read_text()
    assert fitting.fit(file, folder) == [folder / "sm_90.toml"]
    table = read(folder / "sm_90.toml")
    for kind in ("forward", "backward"):
        assert table.entries[f"{kind}_cycles"][0] == pytest.approx([7, 2, 30, 11], rel=1e-2)
        assert table.entries[f"{kind}_registers"][0] == pytest.approx([20, 0, 0, 1], abs=0.05)
    for name in ("lane_cycles", "lane_back_cycles"):
        assert table.entries[name][0] == pytest.approx([90, 3, 25, 0], rel=2e-2)
    for name, value in {"overlap": 0.4, "level": 9, "crossing": 300, "chunk": 200}.items():
        assert table.entries[name][0] == pytest.approx(value, rel=1e-2)
        assert table.entries[name][1].startswith("machine code: counts.json, ")
    assert table.entries["clock"] == read(ROOT / "rnndsl" / "devices" / "sm_90.toml").entries["clock"]
    assert (folder / "sm_90.toml").read_text().splitlines()[0] == before.splitlines()[0], "comments stay"


def copied(folder: Path) -> Path:
    """The tables, in a folder of the test's own."""
    found = folder / "devices"
    found.mkdir()
    for path in (ROOT / "rnndsl" / "devices").glob("*.toml"):
        (found / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return found


def made_up_measurements(name: str, capability: str, hidden) -> dict:
    """A results file of gpu.py of a device that keeps to the model exactly, `hidden`."""
    rows = []
    for (cell, work), direction, ahead in product({"ParaGRU": GRU, "ParaLSTM": LSTM, "MinGRU": SCAN}.items(), ("forward", "backward"), (2, 4, 8)):
        step = step_cycles(work, Tiles(SEQUENTIAL, WARP, ahead=ahead), hidden, direction == "backward")
        rows.append({"cell": cell, "direction": direction, "ahead": ahead, "channels": 32, "cycles_a_step": step})
    model = []
    for direction in ("forward", "backward"):
        cut = [t for t in candidates(GRU, 256, 16_384) if t.schedule == PARALLEL][:9]
        found = [{"schedule": PARALLEL, "channels": t.channels, "ahead": 4, "lanes": t.lanes, "lane_steps": t.lane_steps, "warps": t.warps, "dropped": False,
                  "median": cycles(GRU, t, 256, 16_384, hidden, direction == "backward") / hidden.clock} for t in cut]  # fmt: skip
        model.append({"label": "ParaGRU.h(D=1,H=256) float32, float32 streams", "direction": direction, "channels": 256, "steps": 16_384, "candidates": found})
    bounds = [{"what": "copy", "bytes": 1 << 30, "per_second": hidden.bandwidth * hidden.reach}, {"what": "copy", "bytes": 1 << 16, "per_second": 1e9},
              {"what": "clock", "count": 1, "per_second": hidden.clock}]  # fmt: skip
    rounds = [{"cell": "ParaGRU", "form": form, "chunk": 128, "spread": 1.0, "rounds": r} for form, r in (("shooting", hidden.rounds), ("plain", 9.0))]
    return {"version": 1, "machine": {"gpu": name, "capability": capability}, "groups": {"cycles": rows, "model": model, "bounds": bounds, "rounds": rounds}}


@pytest.mark.parametrize(("name", "capability", "continued"), [("NVIDIA H100 80GB HBM3", "9.0", "sm_90"), ("A GPU of tomorrow", "12.0", "general")])
def test_measurements_are_recovered(tmp_path, monkeypatch, name, capability, continued):
    start = of_gpu(name, f"sm_{capability.replace('.', '')}")
    wanted = {"clock": 1.9e9, "bandwidth": 2.9e12, "reach": 1.0, "memory_latency": 800.0, "sequential_pace": 1.3, "sequential_back_pace": 0.8,
              "parallel_pace": 1.6, "parallel_back_pace": 1.2, "rounds": 2.5}  # fmt: skip
    data = made_up_measurements(name, capability, replace(start, **wanted))
    monkeypatch.setattr(fitting, "_works", lambda: {"ParaGRU": GRU, "ParaLSTM": LSTM, "MinGRU": SCAN}.__getitem__)
    folder, file = copied(tmp_path), tmp_path / "gpu-made-up.json"
    file.write_text(json.dumps(data))
    (path,) = fitting.fit(file, folder)
    table = read(path)
    assert (table.gpus, table.continues) == ((name,), continued)
    assert {n: v for n, (v, _) in table.entries.items()} == pytest.approx(wanted, rel=2e-2)
    assert all(s.startswith("measured: gpu-made-up.json, ") for _, s in table.entries.values())
    tables.cache_clear()
    monkeypatch.setattr("rnndsl.devices.FOLDER", folder)
    try:
        found = of_gpu(name, f"sm_{capability.replace('.', '')}", {"clock": 1e9, "processors": 3.0})
        assert (found.clock, found.processors) == (pytest.approx(1.9e9), 3), "the driver tells what was not measured"
        assert "9 measured" in str(found) and found.table == f"{name}, measured"
        other = of_gpu("NVIDIA H100 PCIe", "sm_90")
        assert other.table == "NVIDIA H100 (sm_90)", "another GPU has what was not measured on it"
        assert fitting.fit(file, folder) == [path], "measured once more"
        assert {n: v for n, (v, _) in read(path).entries.items()} == pytest.approx(wanted, rel=2e-2)
    finally:
        tables.cache_clear()


@pytest.mark.parametrize("text", ["[]", "{}", '{"groups": {}, "machine": {"gpu": null}}', "not json"])
def test_another_file_is_refused(tmp_path, text, monkeypatch, capsys):
    (tmp_path / "x.json").write_text(text)
    monkeypatch.setattr(sys, "argv", ["fit.py", str(tmp_path / "x.json")])
    assert fitting.main() == 2 and capsys.readouterr().err.startswith("fit.py: ")
