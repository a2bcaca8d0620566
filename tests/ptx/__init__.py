"""Compiled kernels without a GPU: the PTX that Triton makes of a kernel, executed on a CPU and watched. See docs/emulator.md."""
