"""How exact products of float32 matrices are in kernels: what PyTorch was told of its own."""

import torch

IEEE, TF32X3, TF32 = "ieee", "tf32x3", "tf32"
_BY_SETTING = {"highest": IEEE, "high": TF32X3, "medium": TF32}


def of_products(device: torch.device) -> str:
    """The precision that `torch.set_float32_matmul_precision` or `torch.backends.cuda.matmul.fp32_precision` asks for: `highest` is ieee; `high` is
    tf32x3, three products of TF32, which keep nearly all digits; `medium`, or tf32 by its name, is tf32. On AMD's GPUs, which have no tf32x3 and few of
    which have tf32, it is ieee where they lack it."""
    asked = _asked()
    if torch.version.hip is None or asked == IEEE:
        return asked
    return TF32 if asked == TF32 and getattr(torch.cuda.get_device_properties(device), "gcnArchName", "").startswith("gfx942") else IEEE


def _asked() -> str:
    by_name = getattr(torch.backends.cuda.matmul, "fp32_precision", None)  # of later versions of torch
    if by_name is not None and by_name != "tf32":
        return IEEE
    try:
        setting = torch.get_float32_matmul_precision()
    except RuntimeError:  # tf32 was asked for by its name
        return TF32
    return TF32 if by_name is not None and setting == "highest" else _BY_SETTING[setting]
