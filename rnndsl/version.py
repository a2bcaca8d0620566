"""The version of rnndsl, readable without importing anything else."""

VERSION = "0.2.0"
