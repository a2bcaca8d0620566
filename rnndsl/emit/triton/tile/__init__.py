"""Kernels in Triton of a whole step: every value of it is a tile."""
