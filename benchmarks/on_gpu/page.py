"""A page of what was measured, in Markdown, from nothing but the data."""

from on_gpu import tables
from on_gpu.record import Row


def page(data: Row) -> str:
    """The machine, a table a group in the order in which they ran, what failed and what was left out."""
    machine = data["machine"]
    gpu = machine.get("gpu")
    title = f"Triton kernels on {gpu}" if gpu else "A dry run of benchmarks/gpu.py, not on a GPU"
    lines = [f"# {title}", ""]
    if not gpu:
        how = f"compiled for {machine['emulated']} and run by the emulator of tests/ptx" if machine.get("emulated") else "run by Triton's interpreter"
        lines += [f"The kernels were {how}, on a CPU. Times are left out here; **those in the data are not of a GPU**.", ""]
    lines += [f"* {name}: {value}" for name, value in machine.items() if value is not None and name != "model"]
    for group, rows in data["groups"].items():
        lines += ["", f"## {group}", "", "```text", tables.table(group, rows, bool(gpu)).strip("\n"), "```"]
    return "\n".join([*lines, "", "## How it ended", "", "```text", tables.ends(data).strip("\n"), "```", ""])
