"""`rnndsl tune`: times the ways to cut a cell's Triton kernels on the GPU at hand, and keeps the fastest.

settings   what is asked for                        calls    what a call of the layer gives to its kernels, and launches of them
timer      how long a call keeps a device busy      race     many candidates timed in turn, the slow ones dropped early
run        all of it, from settings to a result     report   the result for people, and as data
"""
