"""Rounds of Newton's method, and normal forms of matrix states, in PyTorch's operations, for any device."""
