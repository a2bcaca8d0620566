"""The packages: those of `rnndsl`, found, and the folders of resources beside it, which a wheel holds inside (see `rnndsl/resources.py`)."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["rnndsl", "rnndsl.*"]), "rnndsl.grammar", "rnndsl.templates", "rnndsl.examples.zoo"])
