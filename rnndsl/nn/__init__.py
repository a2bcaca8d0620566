"""Layers and models made of generated classes, in ordinary PyTorch: stacks over sequences of any lengths, blocks, language models.

`rnndsl.nn.forcing` and `rnndsl.nn.invariants`, models of chaotic systems and what they are judged by, are imported by name; so are `rnndsl.nn.hub` and
`rnndsl.nn.transformers`, where what they need is installed.
"""

from rnndsl.nn.block import Block
from rnndsl.nn.clip import clip_gradient, clip_params_
from rnndsl.nn.language_model import LanguageModel
from rnndsl.nn.recurrent import Recurrent
from rnndsl.nn.torch_twins import from_torch, from_torch_state, to_torch, to_torch_state

__all__ = ["Block", "LanguageModel", "Recurrent", "clip_gradient", "clip_params_", "from_torch", "from_torch_state", "to_torch", "to_torch_state"]
