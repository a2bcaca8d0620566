"""Where a call of a layer may go over ranks. What runs it there is imported when somebody asks for it."""

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from rnndsl.runtime.call import Call

_RANKS = "rnndsl.runtime.ranks"
_used: list[bool] = torch.__dict__.setdefault("_rnndsl_over_ranks", [])  # whether calls of this process have gone over ranks; standalone modules share it


def shards_of(layer: Any, group: Any) -> Any:
    """The ranks over which a call runs, as `rnndsl.Shards`; None for a whole sequence. group: what the call was given. Raises TypeError in a standalone
    module where rnndsl is not installed."""
    if group is None and not _used:
        return None
    return _found(layer, group)


def _found(layer: Any, group: Any) -> Any:
    return _ranks("options").shards_of(layer, group)


_found._torchdynamo_disable = True  # type: ignore[attr-defined]  # torch.compile does not look into it


def use() -> None:
    """Calls may go over ranks from now on."""
    if not _used:
        _used.append(True)


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that torch.compile does not look into, nor into what it calls: ranks tell each other things in it."""

    @functools.wraps(function)
    def run(*given: Any, **named: Any) -> Any:
        return (torch.compiler.disable(function) if "torch._dynamo" in sys.modules else function)(*given, **named)  # else nothing is compiled

    run._torchdynamo_disable = True  # type: ignore[attr-defined]
    return run


@as_it_is
def over_ranks(layer: Any, shards: Any, inputs: tuple, **named: Any) -> Any:
    """A call over ranks."""
    return _ranks("call").over_ranks(layer, shards, inputs, **named)


def scanned(layer: Any, name: str, call: Call, kind: dict[str, Any]) -> Any:
    """A recurrence of such a call."""
    return _ranks("call").scanned(layer, name, call, kind)


def planned(layer: Any, name: str, batch: int, ranks: int, dtype: Any) -> str:
    """How a recurrence would cross the borders between ranks, in words."""
    return str(_ranks("choice").planned(layer, name, batch, ranks, dtype).text(ranks))


def _ranks(name: str) -> Any:
    try:
        return import_module(f"{_RANKS}.{name}")
    except ImportError as e:
        raise TypeError(f"group: a standalone module runs a sequence in one process; over ranks it needs rnndsl itself ({e})") from None
