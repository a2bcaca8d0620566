"""The weights of a layer from a file that `torch.save(layer.state_dict(), …)` wrote."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnndsl.tools import Unfit


def load_weights(layer: Any, path: str | Path) -> None:
    """Gives a layer the weights of a file. Nothing of the file is run. Raises Unfit, with the names, for what is no state_dict or not this layer's;
    OSError where the file cannot be read."""
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as e:
        why = "" if isinstance(e, pickle.UnpicklingError) or not str(e) else f": {str(e).splitlines()[0]}"  # PyTorch's words for a pickle advise to run it
        raise Unfit(f"{path}: no file of weights as torch.save(layer.state_dict(), …) writes one{why}") from None
    if not isinstance(given, dict) or not given or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in given.items()):
        raise Unfit(f"{path}: expected a state_dict, tensors by name, got {_kind(given)}; write one by torch.save(layer.state_dict(), …)")
    wanted = layer.state_dict()
    complex_ones = [n for n, t in given.items() if n in wanted and t.is_complex() and not wanted[n].is_complex()]
    if complex_ones:
        raise Unfit(f"{path}: {complex_ones[0]} is complex there, and real in the cell")
    try:
        layer.load_state_dict(given)
    except RuntimeError as e:
        raise Unfit(f"{path}: its weights are not this cell's of these sizes:\n{_problems(str(e))}") from None


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        odd = next((n for n, t in value.items() if not isinstance(n, str) or not isinstance(t, Tensor)), None)
        return "an empty one" if odd is None else f"one with {odd!r}, which is {type(value[odd]).__name__}"
    return type(value).__name__


def _problems(said: str) -> str:
    """What torch says of a state_dict that does not fit, in fewer words."""
    lines = [line.strip() for line in said.splitlines()[1:]]
    shorter = (
        line.replace("Missing key(s) in state_dict", "missing").replace("Unexpected key(s) in state_dict", "not in the cell").replace("size mismatch for ", "")
        .replace("copying a param with shape torch.Size(", "it is ").replace("the shape in current model is torch.Size(", "and here ")
        .replace(") from checkpoint", " in the file").rstrip(".").removesuffix(")")
        for line in lines
    )  # fmt: skip
    return "\n".join(f"  {line}" for line in shorter)
