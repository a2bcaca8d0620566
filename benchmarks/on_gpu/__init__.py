"""The parts of `benchmarks/gpu.py`.

scale    how much of everything              cells    the cells, as layers on the device        record   what was measured, saved as it comes
bounds   bytes and functions a second        checks   numbers against the reference             timing   seconds, memory, in turn
rounds   of Newton's method; cycles a step   peers    other people's layers                     times    all of them at one shape
groups   what is measured, of all this             tables   what was, for people
"""
