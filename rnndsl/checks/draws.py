"""What may stand after `~`: initialisers of params and distributions of noises."""

# Initialisers and distributions: the number of arguments that each takes.
INITIALISERS: dict[str, tuple[int, ...]] = {
    "zeros": (0,),
    "ones": (0,),
    "constant": (1,),
    "normal": (1, 2),
    "uniform": (2,),
    "linspace": (2,),
    "xavier_uniform": (0,),
    "xavier_normal": (0,),
    "kaiming_uniform": (0,),
    "kaiming_normal": (0,),
    "orthogonal": (0,),
    "eye": (0,),
}
MATRIX_INITIALISERS = frozenset(
    ("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "eye")
)
DISTRIBUTIONS: dict[str, tuple[int, ...]] = {"bernoulli": (1,), "normal": (2,), "uniform": (2,)}
