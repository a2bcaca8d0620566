"""Layers made of generated classes, in ordinary PyTorch: stacks in one direction or both, over sequences of any lengths."""

from rnndsl.nn.recurrent import Recurrent
from rnndsl.nn.torch_twins import from_torch, from_torch_state, to_torch, to_torch_state

__all__ = ["Recurrent", "from_torch", "from_torch_state", "to_torch", "to_torch_state"]
