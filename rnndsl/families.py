"""The families of recurrences, by what their equations are in the states; all but the last have an exact scan."""

AFFINE, MAX_PLUS, LOG, NONLINEAR = "affine", "max-plus", "log-semiring", "nonlinear"
EXACT = (AFFINE, MAX_PLUS, LOG)
