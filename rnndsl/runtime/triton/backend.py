"""The Triton backend: recurrences by generated kernels on a GPU, or in Triton's interpreter."""

import functools
import importlib.util
import inspect
import re
import warnings
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from rnndsl.costs import STAGES
from rnndsl.runtime import gpu, recurrence
from rnndsl.runtime.backend import BACKENDS, Backend, Plan, Results, Stepped
from rnndsl.runtime.call import Call
from rnndsl.runtime.choice import say_once, say_schedule
from rnndsl.runtime.gpu import device_of
from rnndsl.runtime.kernels import Step, reasons_text
from rnndsl.runtime.key import Key, Made, made_of
from rnndsl.runtime.layer import Layer
from rnndsl.runtime.plain import reference_of
from rnndsl.runtime.torch.newton import Carries
from rnndsl.runtime.torch.solver import Solver, keep_report
from rnndsl.runtime.traced import constant_in_graphs
from rnndsl.runtime.triton.channel_runnable import PREDICTED, Launched
from rnndsl.runtime.triton.channels import Channels
from rnndsl.runtime.triton.files import module_of, text_of
from rnndsl.runtime.triton.kernels import TritonKernels
from rnndsl.runtime.triton.report import read_report
from rnndsl.runtime.triton.rounds import TritonRounds
from rnndsl.runtime.triton.row_launch import RowLaunch
from rnndsl.runtime.triton.rows import RowRounds
from rnndsl.runtime.triton.stages import Staged
from rnndsl.runtime.triton.step import step
from rnndsl.runtime.triton.tile_runnable import TileLaunched
from rnndsl.runtime.triton.tiled import Tiled
from rnndsl.tiles import NEWTON, SEQUENTIAL

ROUNDS = "rounds"  # in the wish of a key
_TOO_LARGE = "a row of its rounds, or a matrix in one of its loops, is too large for a program"
OLDEST = (3, 6)  # version of Triton that kernels are known to compile with
_warned: set[tuple[type, str]] = set()


@functools.cache
def lacking() -> str | None:
    """Why no kernel can be made here; None where Triton is installed, and not too old."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed: pip install triton"
    version = importlib.import_module("triton").__version__
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        return f"they need Triton {'.'.join(map(str, OLDEST))}, which PyTorch 2.10 for CUDA brings, and {version} is installed"
    return None


class Triton(Backend):
    """Generated Triton kernels: of channels where they do not meet inside a step, else of whole steps, of stages, or rounds over all steps."""

    name = "triton"
    devices = ("cuda",)
    schedules = ("sequential", "newton")
    has_step = True

    def carried(self, step: dict | None = None, **said: Any) -> TritonKernels:
        return TritonKernels(step=Step(**step) if step else None, **said)

    def refusal(self, cls: Any) -> str | None:
        kernels: TritonKernels | None = cls._kernels.get(self.name)
        if kernels is None:
            return "its module has no kernels in Triton"
        if kernels.refused:
            return reasons_text(kernels.refused)
        return lacking()

    def misplaced(self, device: torch.device) -> str | None:
        if device.type == "cuda" or (device.type == "cpu" and gpu.interpreted()):
            return None
        return f"'triton' runs on a GPU, but the inputs are on {device}"

    def chosen(self, cls: Any, name: str) -> bool:
        return _chosen(cls, name)

    def taken(self, layer: Layer, name: str, device: torch.device, shape: tuple[int, int]) -> bool:
        """Of kernels of whole steps: not where steps are too large, and not where a schedule that they lack is asked for, or predicted to be quicker."""
        if not super().taken(layer, name, device, shape):
            return False
        if name not in type(layer)._kernels[self.name].tiled:
            return True
        if not _sequential(made_of(layer), name, layer._own_dtype()).fits:
            return False
        wanted = self._quickest(layer, name, {"dtype": layer._own_dtype(), "device": device}, shape)
        return wanted in (SEQUENTIAL, STAGES) or (wanted == NEWTON and _has_rounds(made_of(layer), name, layer._own_dtype()))

    def _quickest(self, layer: Layer, name: str, kind: dict[str, Any], shape: tuple[int, int]) -> str:
        """The schedule of a recurrence with kernels of whole steps that is asked for, or that is predicted to be the quickest, here or in PyTorch's
        operations."""
        parallel = cast(Any, BACKENDS.get("torch"))
        if layer.schedule == SEQUENTIAL or parallel is None or not parallel.taken(layer, name, kind["device"], shape):
            return SEQUENTIAL
        if layer.schedule != "auto":
            return layer.schedule
        if torch.compiler.is_compiling():
            return str(parallel.quickest(layer, name, kind, shape, [SEQUENTIAL]))
        rounds = recurrence.known(_key(made_of(layer), name, kind["dtype"], rounds=True)) if _has_rounds(made_of(layer), name, kind["dtype"]) else None
        kernels = _sequential(made_of(layer), name, kind["dtype"])
        rows = kernels.rows if rounds is not None or kernels.rows is None else replace(kernels.rows, round=0)
        return str(parallel.quickest(layer, name, kind, shape, kernels.schedules(*shape), kernels.kernels.programs, rows, rounds))

    def _schedule(self, layer: Layer, name: str, kind: dict[str, Any], shape: tuple[int, int]) -> str:
        """What runs a recurrence here: rounds where they are asked for or the quickest, and there are some."""
        kernels: TritonKernels = type(layer)._kernels[self.name]
        if name not in kernels.tiled:
            return layer.schedule
        wanted = self._quickest(layer, name, kind, shape) if layer.schedule == "auto" else layer.schedule
        if wanted == NEWTON and _has_rounds(made_of(layer), name, kind["dtype"]):
            return NEWTON
        if layer.schedule not in ("auto", SEQUENTIAL):
            why = kernels.unrounded.get(name, _TOO_LARGE if layer.schedule == NEWTON else "")
            say_schedule(type(layer), name, "sequentially", f"'triton' has no {layer.schedule} for it{': ' * bool(why)}{why}")
        return SEQUENTIAL

    def run(self, layer: Layer, name: str, call: Call, kind: dict[str, Any]) -> Results:
        key = _key(made_of(layer), name, kind["dtype"])
        rounds = name in type(layer)._kernels[self.name].tiled and self._schedule(layer, name, kind, (call.first[0].shape[0], call.steps)) == NEWTON
        if rounds:
            key = _key(made_of(layer), name, kind["dtype"], rounds=True)
        found = recurrence.run(key, call)
        if rounds:
            keep_report(self, layer, name, key)
        elif not torch.compiler.is_compiling():
            kernels = recurrence.known(key)
            if isinstance(kernels, Launched) and kernels.last is not None:
                self.solved(layer, name, functools.partial(read_report, name, *kernels.last))
        return found

    def plan_for(self, layer: Layer, name: str, batch: int, steps: int, kind: dict[str, Any]) -> Plan:
        kernels = recurrence.known(_key(made_of(layer), name, kind["dtype"]))
        if isinstance(kernels, TileLaunched):
            if self._schedule(layer, name, kind, (batch, steps)) == NEWTON:
                return Plan(name, self.name, NEWTON, "rounds over all steps at once: products of matrices in PyTorch's operations, the rest in kernels")
            if kernels.by_stages(batch, steps, kind["device"]):
                return Plan(name, self.name, SEQUENTIAL, f"a step is products of matrices in PyTorch's operations, and kernels of what is between them{_graphs(kernels, kind)}")
            return Plan(name, self.name, SEQUENTIAL, f"a program computes whole steps: {kernels.cut(batch, kind['device'])}")
        assert isinstance(kernels, Launched)
        streams = kind["products"]  # taking streams to be products of the inputs
        tiles, why = kernels.tiles(batch, steps, kind["device"], streams)
        back, _ = kernels.tiles(batch, steps, kind["device"], streams, backward=True)
        model = str(device_of(kind["device"])) if why == PREDICTED else ""
        return Plan(name, self.name, kernels.kernels.costs.schedule(tiles), why, batch * kernels.kernels.count, tiles, back, model=model)

    def step(
        self, layer: Layer, inputs: tuple[Tensor, ...], values: tuple[Tensor, ...], state: tuple[Tensor, ...], dtype: torch.dtype
    ) -> Stepped | None:
        return step(layer, inputs, values, state, dtype, device_of)

    def made(self, key: Key) -> "Launched | TileLaunched | Solver":
        """Writes the kernels where they are not written yet."""
        module = module_of(text_of(key.kernels, key.sizes, key.hypers, key.dtype), key.cls.__name__)
        kernels: Channels | Tiled = getattr(module, key.kernels.kernels[key.name])
        if isinstance(kernels, Tiled):
            plain = reference_of(key.cls, key.name, kernels.forms, kernels.lags, key.sizes, key.hypers, key.dtype)
            if ROUNDS in key.wish.split(","):
                return self._solver(key, kernels, plain)
            launched: TileLaunched | Launched = TileLaunched(kernels, key.dtype, _wish(key), plain, device_of, functools.partial(self._staged, key, kernels, plain))
        else:
            reference = reference_of(key.cls, key.name, kernels.forms, kernels.lags, key.sizes, key.hypers, key.dtype, kernels.own, kernels.follows)
            launched = Launched(kernels, _boxes(key, kernels), key.dtype, key.wish.split(",")[0], _wish(key), _label(key), reference, device_of)
        for why in launched.unheeded:
            say_once(key.cls, f"tiles: {key.cls.__name__}: `{key.name}` {why}; it runs without, with the same numbers")
        return launched

    def _solver(self, key: Key, kernels: Tiled, reference: Any) -> Solver:
        """The rounds of a recurrence."""
        carries, stepwise = Carries(kernels.nearer), key.on(self.name)
        return Solver(key, TritonRounds(_stages(key), carries, lambda: recurrence.known(stepwise)), kernels.forms, carries, reference)

    def _staged(self, key: Key, kernels: Tiled, reference: Any) -> Staged | None:
        """The stages of a recurrence, where its steps are written so."""
        return Staged(_stages(key), Carries(kernels.nearer), kernels.forms, reference) if key.name in key.kernels.rounds else None

    def home(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    def emulated(self, device: torch.device) -> str | None:
        return "'triton' runs on a GPU, but this is its interpreter" if device.type == "cpu" else None


@constant_in_graphs
def _chosen(cls: Any, name: str) -> bool:
    """Whether `auto` takes the kernels of a recurrence; where there are none, it says so once."""
    kernels: TritonKernels | None = cls._kernels.get("triton")
    if kernels is None:
        return False
    why = kernels.refused.get(name) or lacking()
    if why is not None and (cls, name) not in _warned:
        _warned.add((cls, name))
        warnings.warn(f"{cls.__name__}: `{name}` runs in PyTorch's operations, since it has no Triton kernel: {why}", stacklevel=6)
    return why is None


@constant_in_graphs
def _sequential(made: Made, name: str, dtype: torch.dtype) -> TileLaunched:
    """What goes step by step, of a recurrence with kernels of whole steps."""
    kernels = recurrence.known(_key(made, name, dtype))
    assert isinstance(kernels, TileLaunched)
    return kernels


def _stages(key: Key) -> RowLaunch:
    """The stages of the steps of a recurrence; writes their kernels where they are not written yet."""
    file = module_of(text_of(key.kernels, key.sizes, key.hypers, key.dtype, rows=True), f"{key.cls.__name__}_rounds")
    said: RowRounds = getattr(file, key.kernels.rounds[key.name])
    return RowLaunch(said, key.sizes, key.hypers, key.dtype, _wish(key), device_of)


def _graphs(kernels: TileLaunched, kind: dict[str, Any]) -> str:
    """What a plan says of CUDA graphs."""
    staged = kernels.staged
    return f"; {staged.graph} steps are a CUDA graph" if staged is not None and staged.graph and kind["device"].type == "cuda" else ""


@constant_in_graphs
def _has_rounds(made: Made, name: str, dtype: torch.dtype) -> bool:
    """Whether a recurrence has rounds, of which a program can hold a row."""
    if name not in made[0]._kernels["triton"].rounds:
        return False
    solver = recurrence.known(_key(made, name, dtype, rounds=True))
    return isinstance(solver, Solver) and isinstance(solver.rounds, TritonRounds) and solver.rounds.fits


def _wish(key: Key) -> dict[str, int]:
    """How kernels are asked to be cut."""
    return {n: int(v) for n, v in (tile.split("=") for tile in key.wish.split(",") if "=" in tile)}


def _label(key: Key) -> str:
    """What tells one recurrence from another in a table of measurements."""
    sizes = ",".join(f"{n}={v}" for n, v in key.sizes.items())
    return f"{key.cls.__name__}.{key.name}({sizes}) {str(key.dtype).removeprefix('torch.')}"


@constant_in_graphs
def _key(made: Made, name: str, dtype: torch.dtype, rounds: bool = False) -> str:
    """The key of a layer's recurrence; writes its kernels where they are not written yet. A compiled layer asks for it once. rounds: over all steps, of a
    recurrence with kernels of whole steps."""
    _, _, schedule, tiles = made
    wish = ",".join([schedule, *([ROUNDS] if rounds else []), *([tiles] if tiles else [])])
    key = Key.text_of("triton", made, name, dtype, wish)
    recurrence.known(key)
    return key


def _boxes(key: Key, kernels: Channels) -> tuple[tuple[float, float], ...]:
    """Bounds for the guesses of a solver, a little wider than what was proven; none where a hyperparameter that they need was changed."""
    defaults = inspect.signature(key.cls).parameters
    holds = all(key.hypers[n] == defaults[n].default for n in kernels.assumes)

    def wider(low: float, high: float) -> tuple[float, float]:
        return (low - 1e-5 * (1 + abs(low)), high + 1e-5 * (1 + abs(high))) if holds else (float("-inf"), float("inf"))

    return tuple(wider(*box) for box in kernels.boxes)


BACKEND = Triton()
