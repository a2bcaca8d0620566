"""Imported by the process that ranks of `many_ranks` are forked from: the cells that all of them need are compiled once."""

from tests.many_ranks import class_of

NAMES = ("Lags", "Rotation", "Plain", "Elman", "GRU", "GatedDeltaNet", "LRU", "MLSTM", "MinGRU", "ParaGRU", "ParaLSTM", "RKN", "SLSTM")

for name in NAMES:
    class_of(name)
