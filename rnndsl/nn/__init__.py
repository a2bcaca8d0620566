"""Layers made of generated classes, in ordinary PyTorch: stacks in one direction or both, over sequences of any lengths."""

from rnndsl.nn.recurrent import Recurrent

__all__ = ["Recurrent"]
