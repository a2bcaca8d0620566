"""Layers made of generated classes, in ordinary PyTorch: stacks in one direction or both, over sequences of any lengths."""

from rnndsl.nn.clip import clip_gradient, clip_params_
from rnndsl.nn.recurrent import Recurrent
from rnndsl.nn.torch_twins import from_torch, from_torch_state, to_torch, to_torch_state

__all__ = ["Recurrent", "clip_gradient", "clip_params_", "from_torch", "from_torch_state", "to_torch", "to_torch_state"]
