"""rnndsl: write the equations of a recurrent cell, get a PyTorch layer.

    import rnndsl
    MyCell = rnndsl.load("my_cell.rnn").MyCell
    layer = MyCell(D=64, H=128)
    y, state = layer(x)                     # x: [B, T, 64]

Nothing here imports torch until a cell is loaded.
"""

from rnndsl.version import VERSION as __version__

_PUBLIC = {
    "check": "rnndsl.api", "compile": "rnndsl.api", "format": "rnndsl.api", "load": "rnndsl.api", "explain": "rnndsl.api", "verify": "rnndsl.api",
    "load_ipython_extension": "rnndsl.tools.editors.notebook",
    "Layer": "rnndsl.runtime.layer",
    "RankError": "rnndsl.runtime.ranks", "Shards": "rnndsl.runtime.ranks", "context_parallel": "rnndsl.runtime.ranks",
    "export_c": "rnndsl.export.c.export", "export_onnx": "rnndsl.export.onnx.model",
    "Diagnostic": "rnndsl.diagnostics", "RnnError": "rnndsl.diagnostics", "Source": "rnndsl.diagnostics", "render": "rnndsl.report",
}  # fmt: skip

__all__ = [
    "Diagnostic", "Layer", "RankError", "RnnError", "Shards", "Source", "__version__", "check", "compile", "context_parallel", "explain", "export_c", "export_onnx", "format", "load", "render", "verify",
]  # fmt: skip


def __getattr__(name: str):
    """Imports a public name on first use: a generated module that needs rnndsl.runtime alone pays for nothing else."""
    from importlib import import_module

    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    if name in ("nn", "zoo"):
        return import_module(f"rnndsl.{name}")
    raise AttributeError(f"module 'rnndsl' has no attribute {name!r}")
