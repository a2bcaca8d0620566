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
        lines += ["The kernels ran in Triton's interpreter: **no time below says anything about a GPU**.", ""]
    lines += [f"* {name}: {value}" for name, value in machine.items() if value is not None and name != "model"]
    for group, rows in data["groups"].items():
        lines += ["", f"## {group}", "", "```text", tables.table(group, rows).strip("\n"), "```"]
    return "\n".join([*lines, "", "## How it ended", "", "```text", tables.ends(data).strip("\n"), "```", ""])
