"""What PyTorch itself says of which steps a rank holds: tensors that know how they are shared, and its own context parallelism."""

import sys
from typing import Any

import torch
from torch import Tensor

from rnndsl.runtime.ranks.options import Shards, check_mesh

_BALANCED = ("torch.distributed.tensor.experimental._context_parallel._attention", "torch.distributed.tensor.experimental._attention")  # where it is, by version


def own_part(name: str, x: Any, shards: Shards) -> Any:
    """The steps that this rank holds of a DTensor [B, T, ...] whose time is shared among the ranks of the group, one piece each; anything else as it is. Raises
    ValueError for one that is shared otherwise."""
    if not isinstance(x, Tensor) or type(x) is Tensor or not isinstance(x, torch.distributed.tensor.DTensor):
        return x
    mesh, placements = x.device_mesh, x.placements
    ours = [i for i in range(mesh.ndim) if mesh.get_group(i).group_name == shards.group.group_name]
    of_time = [i for i, p in enumerate(placements) if type(p) is torch.distributed.tensor.Shard and p.dim == 1]
    others_fit = all(p.is_replicate() or p.is_shard(0) for i, p in enumerate(placements) if i not in of_time)
    if not ours or of_time != ours or not others_fit:
        raise ValueError(f"{name}: a DTensor over ranks is shared by Shard(1) along the axis of the mesh that is the group, and by batch or not at all along others; got {placements}")
    check_mesh(mesh, ours[0])
    return x.to_local()


def check_order(shards: Shards) -> None:
    """Raises ValueError within `torch.distributed.tensor.experimental.context_parallel` where that gives each rank two pieces of time, one from each end."""
    own = next((sys.modules[m] for m in _BALANCED if m in sys.modules), None)
    replaced = torch.nn.functional.scaled_dot_product_attention in getattr(own, "_replaced_functions", ())
    if replaced and shards.positions is None and own._cp_options.enable_load_balance:  # type: ignore[union-attr]
        raise ValueError(
            "wrong order of shards: torch's context_parallel balances load here, so that a rank has a piece of time from each end; run the layer outside of it, or "
            "switch that off (_cp_options.enable_load_balance = False); positions= says otherwise"
        )
