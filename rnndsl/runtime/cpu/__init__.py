"""The CPU backend: recurrences as generated C++ kernels."""
