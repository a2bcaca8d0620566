"""Recurrences solved by Newton's method, or by chunks, in PyTorch's operations, on any device."""
