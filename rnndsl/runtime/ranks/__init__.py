"""One sequence over many ranks: each holds a shard of its time, in rank order. PyTorch's process groups carry what crosses borders."""

from rnndsl.runtime.ranks.line import RankError
from rnndsl.runtime.ranks.options import Shards, context_parallel

__all__ = ["RankError", "Shards", "context_parallel"]
