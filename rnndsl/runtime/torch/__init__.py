"""Recurrences solved by Newton's method in PyTorch's operations, on any device."""
