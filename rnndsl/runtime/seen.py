"""When a step may be made without a call, and what of it need not be checked again: nothing that is asked of tensors depends on more than how they look."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Look = tuple[Any, ...]
_OF_ALL = nn.modules.module
_HOOKS_OF_ALL = (_OF_ALL._global_forward_pre_hooks, _OF_ALL._global_forward_hooks, _OF_ALL._global_backward_pre_hooks, _OF_ALL._global_backward_hooks)


def looks(tensors: Sequence[Tensor]) -> list[Look]:
    """All of tensors but their entries and where these lie. Raises RuntimeError, AttributeError or TypeError for what is no dense tensor."""
    return [(type(t), t.shape, t.stride(), t.dtype, t.device, t.is_neg(), t.is_conj()) for t in tensors]


class Seen(NamedTuple):
    """The last step of a layer that can be made again. settings: what else decided how it was made; looks: of its inputs, of params and consts as they
    are stored, and of its state; again: what makes it, see `backend.Stepped`."""

    settings: Look
    looks: list[Look]
    again: Any


def is_alone(layer: Any, device: torch.device) -> bool:
    """Whether a call of a layer would do nothing but what `forward` says: no hook, no other `forward`, no mode, transformation or tracer."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    if hooks or any(_HOOKS_OF_ALL) or "forward" in layer.__dict__ or type(layer).forward is not layer._forward:
        return False
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return False
    if torch._C._get_tracing_state() is not None or torch._C._len_torch_dispatch_stack() or torch.is_autocast_enabled(device.type):
        return False
    if not torch._C._len_torch_function_stack():
        return True
    modes = torch.overrides._get_current_function_mode_stack()  # a default device is one, but kernels are told the device
    return all(type(mode) is torch.utils._device.DeviceContext for mode in modes)
