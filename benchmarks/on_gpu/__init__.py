"""The parts of `benchmarks/gpu.py`.

device   what is measured on                       record   what was measured, saved as it comes     watch    processes that may crash or hang
ahead    every kernel compiled before              walk     what groups launch, for that             cache    whether Triton's cache had it
worker   the process that measures                 head     what the machine is                      scale    how much of everything
groups   what is measured, of all this             cells    the cells, as layers on the device       points   where to measure
bounds   bytes and functions a second              checks   numbers against the reference            sanitizer  memory errors
rounds   of Newton's method; cycles a step         peers    other people's layers                    times    all of them at one shape
timing   seconds, memory, in turn                  tables   what was, for people                     page     the same in Markdown
"""
