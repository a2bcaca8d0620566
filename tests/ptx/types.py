"""Types of PTX, and what they are in C++."""

SIZE = {f"{kind}{8 * size}": size for kind in "bus" for size in (1, 2, 4, 8)} | {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "pred": 1}
CPP = {f"{kind}{8 * size}": f"{'int' if kind == 's' else 'uint'}{8 * size}_t" for kind in "bus" for size in (1, 2, 4, 8)}
CPP |= {"f16": "float", "bf16": "float", "f32": "float", "f64": "double", "pred": "uint8_t"}  # what is computed with

# What a register holds as bits, read as a number, and back.
READ = {"f32": "as_float((u32){})", "f64": "as_double({})", "f16": "of_f16({})", "bf16": "of_bf16({})"}
WRITE = {"f32": "bits_of((float)({}))", "f64": "bits_of((double)({}))", "f16": "to_f16({})", "bf16": "to_bf16({})"}


def bits(kind: str) -> str:
    """The type of the bits of a value of a type."""
    return f"b{8 * SIZE[kind]}"


def family(kind: str) -> str:
    """f of floating point, s, u, b of integers, pred."""
    return "f" if kind in READ else kind if kind == "pred" else kind[0]
