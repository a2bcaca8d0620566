"""Kernels compiled ahead of time, without a GPU: what the binaries need of registers, stack and barriers."""

import functools
import hashlib
import io
import os
import re
import subprocess
import tempfile
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnndsl.runtime.triton.channels import Channels
from rnndsl.runtime.triton.files import GENERATED
from rnndsl.runtime.triton.rounds import ScanCut
from rnndsl.runtime.triton.step import StepCut
from rnndsl.runtime.triton.tile_launch import TileCut
from rnndsl.tiles import SEQUENTIAL, Tiles

TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
Cut = Tiles | TileCut | StepCut | ScanCut
_APART = 768  # how far apart steps are of gradients, in a place of an array as wide as three gates of 256 channels
_POINTER = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16"}


@dataclass(frozen=True)
class Binary:
    """What a compiled kernel needs. spills: loads and stores of a thread's own memory, or on AMD the registers that lie there: such as do not
    fit, and the digits of pi that sin and cos of a large argument take."""

    kernel: str
    target: str
    tiles: Cut
    registers: int
    spills: int
    shared: int  # bytes of shared memory of a program
    barriers: int
    special: int  # instructions of the special function unit
    shuffles: int  # between the lanes of a warp
    instructions: int
    seconds: float  # of processor time for the compilers; next to none where Triton's cache has the kernel


def kernels_of(channels: Channels) -> dict[str, tuple[Any, bool]]:
    """The kernels of a recurrence: name -> kernel, and whether it is parallel."""
    found = {"forward": (channels.sequential, False), "backward": (channels.sequential_back, False)}
    if channels.parallel is not None:
        found |= {"parallel forward": (channels.parallel, True), "parallel backward": (channels.parallel_back, True)}
    return found


def key_of(kernel: Any) -> str:
    """What tells a kernel from others: its text, that of what it calls, and the constants that they read; not where they stand, nor their comments."""
    found: dict[str, str] = {}
    _collect(kernel, found)
    return hashlib.sha256("\n".join(f"{name}: {found[name]}" for name in sorted(found)).encode()).hexdigest()


def _collect(function: Any, found: dict[str, str]) -> None:
    """The texts of a function and of all that it reads, by their names."""
    from triton.language import constexpr
    from triton.runtime.jit import JITFunction

    module = function.__module__
    name = function.__name__ if module.startswith(GENERATED) else f"{module}.{function.__name__}"  # a generated module is called by its text
    if name in found:
        return
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(function.src).readline) if t.type not in skipped]
    found[name] = " ".join(tokenize.tok_name[t.type] if t.type in (tokenize.INDENT, tokenize.DEDENT) else t.string for t in tokens)
    read = {t.string: function.fn.__globals__[t.string] for t in tokens if t.type == tokenize.NAME and t.string in function.fn.__globals__}
    for word, value in sorted(read.items()):
        if isinstance(value, JITFunction):
            _collect(value, found)
        elif isinstance(value, constexpr):
            found[f"{name} {word}"] = str(value)


def binary(kernel: Any, tiles: Cut, target: str, streams: torch.dtype = torch.float32, real: torch.dtype = torch.float32, reset: bool = False) -> Binary:
    """What a kernel needs on a target, one of TARGETS. streams: their dtype; real: what the kernels compute in. Raises what Triton raises."""
    start = os.times()[:4]  # with those of processes that have ended: ptxas is one
    made = compiled(kernel, tiles, target, streams, real, reset)
    seconds = round(sum(os.times()[:4]) - sum(start), 2)
    counts = _amd(made.asm["amdgcn"]) if "amdgcn" in made.asm else _nvidia(made.asm["cubin"])
    return Binary(kernel.__name__, target, tiles, **counts, shared=made.metadata.shared, seconds=seconds)


def compiled(kernel: Any, tiles: Cut, target: str, streams: torch.dtype = torch.float32, real: torch.dtype = torch.float32, reset: bool = False) -> Any:
    """A kernel as Triton compiles it for a target; its machine code is in `asm`. Raises what Triton raises."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names: list[str] = kernel.arg_names
    constants = {name: value for name, value in _constants(tiles).items() if name in names}
    signature: dict[str, str] = {}
    aligned: dict[tuple[int], list] = {}
    for i, name in enumerate(names):
        kind = "constexpr" if name in ("common", "arrived") and not constants["TOGETHER"] else _kind(name, names, streams, real, reset)
        if name not in constants and kind == "constexpr":
            constants[name] = None
        if name not in constants and kernel.params[i].is_constexpr:
            constants[name] = False if name == "GUESSED" else _APART
        signature[name] = "constexpr" if name in constants else kind
        if signature[name].startswith("*") or name.endswith(("_rows", "_times")):
            aligned[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=GPUTarget(*TARGETS[target]), options={"num_warps": tiles.warps, "enable_fp_fusion": True})


def _constants(cut: Cut) -> dict[str, Any]:
    """What a kernel is told of how it is cut."""
    if isinstance(cut, TileCut):
        return {"ROWS": cut.rows, "PRECISION": cut.precision, "TOGETHER": cut.together}
    if isinstance(cut, ScanCut):
        return {"LANES": cut.lanes, "BLOCK": cut.channels}
    if isinstance(cut, StepCut):
        return {"BLOCK": cut.channels, "INNER": cut.inner}
    tiles = {"AHEAD": cut.ahead} if cut.schedule == SEQUENTIAL else {"LANES": cut.lanes, "LANE_STEPS": cut.lane_steps}
    return {"BLOCK": cut.channels, **tiles}


def _kind(name: str, names: list[str], streams: torch.dtype, real: torch.dtype, reset: bool) -> str:
    """The type of a parameter, by what its name says."""
    if name in ("BATCH", "STEPS") or name.endswith(("_rows", "_times")):
        return "i32"
    if name == "reset":
        return "*u8" if reset else "constexpr"
    if name.endswith("_initial_out") and not reset:
        return "constexpr"
    if name in ("tolerance", "loose") or name.endswith(("_low", "_high")):
        return "fp32"
    if name in ("report", "arrived"):
        return "*fp32" if name == "report" else "*i32"
    return _POINTER[streams] if f"{name}_rows" in names and not name.endswith(("_seed_at", "_seed")) else _POINTER[real]


def _nvidia(cubin: bytes) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _tool("cuobjdump", "-res-usage", path)
        listing = _tool("nvdisasm", "-c", path)
    registers = re.search(r"REG:(\d+)", usage)
    assert registers is not None, usage
    code = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][A-Z0-9]*)", listing)
    return {
        "registers": int(registers[1]),
        "spills": sum(op in ("LDL", "STL") for op in code),
        "barriers": code.count("BAR"),
        "special": code.count("MUFU"),
        "shuffles": sum(op in ("SHFL", "REDUX") for op in code),
        "instructions": len(code),
    }


def _amd(listing: str) -> dict[str, int]:
    registers = re.search(r"\.vgpr_count:\s+(\d+)", listing)
    spills = re.search(r"\.vgpr_spill_count:\s+(\d+)", listing)
    assert registers is not None and spills is not None
    code = re.findall(r"^\t([sv]_\w+|ds_\w+|global_\w+|buffer_\w+|scratch_\w+)", listing, re.M)
    special = ("v_exp_", "v_log_", "v_rcp_", "v_rsq_", "v_sqrt_", "v_sin_", "v_cos_")
    shuffles = ("ds_bpermute", "ds_permute", "ds_swizzle", "v_permlane")
    return {
        "registers": int(registers[1]),
        "spills": int(spills[1]),
        "barriers": code.count("s_barrier"),
        "special": sum(op.startswith(special) for op in code),
        "shuffles": sum(op.startswith(shuffles) or op.endswith("_dpp") for op in code),
        "instructions": len(code),
    }


@functools.cache
def tools() -> Path:
    """Where the tools of the CUDA toolkit are that come with triton: ptxas, cuobjdump, nvdisasm."""
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def _tool(name: str, *arguments: Any) -> str:
    """What one of them says."""
    return subprocess.run([str(tools() / name), *map(str, arguments)], capture_output=True, text=True, check=True).stdout
