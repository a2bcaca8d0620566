"""Layers as programs of other systems: what a layer computes in evaluation, with its sizes, hyperparameters and weights as they are."""
