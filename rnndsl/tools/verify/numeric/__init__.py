"""The equations by numbers: an interpreter of cells, of plans and of lane forms, independent of everything that emits code."""
