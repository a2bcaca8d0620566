"""Rounds of Newton's method in PyTorch's operations, for any device."""
