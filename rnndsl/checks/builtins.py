"""The names of functions and draws, as the checks of names look them up."""

from rnndsl.checks.draws import DISTRIBUTIONS, INITIALISERS
from rnndsl.functions import FUNCTIONS as BUILTINS
from rnndsl.functions.synonyms import nearest_builtin_hint

__all__ = ["BUILTINS", "DISTRIBUTIONS", "INITIALISERS", "nearest_builtin_hint"]
