"""`rnndsl bench`: how fast a cell is here, next to what else there is, and next to what the machine can do.

settings   what is asked for                      subject    the layer, its inputs, what goes into its recurrence
candidates our backends, the loop, compiled step  torch_nn   torch.nn's own layers       pararnn   pararnn-torch's
peers      which cells those have                 same_cell  whether two cells are the same equations
measure    timing in turn, medians, quartiles     bound      bytes that must move, and copies of them
run        all of it, from settings to a result   report, picture   the result for people, and as data
"""
