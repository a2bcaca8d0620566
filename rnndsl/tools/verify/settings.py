"""What a verification is asked to do. Nothing here imports torch."""

from argparse import Namespace
from dataclasses import dataclass, field

from rnndsl.backends import NAMES
from rnndsl.tools import Unfit
from rnndsl.tools.arguments import names_of, parse_sizes

BACKENDS = ("reference", *NAMES)
DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Settings:
    """backends: None for those that can run the cell here; dtypes: of the inputs; seed: of weights and inputs."""

    sizes: dict[str, int] = field(default_factory=dict)
    backends: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = DTYPES
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises Unfit for a backend or a dtype that there is not."""
        for what, given, known in (("backend", self.backends or (), BACKENDS), ("dtype", self.dtypes, DTYPES)):
            for name in given:
                if name not in known:
                    raise Unfit(f"there is no {what} {name}; there is {', '.join(known)}")

    def wants(self, backend: str) -> bool:
        """Whether a backend is asked for by its name."""
        return self.backends is not None and backend in self.backends


def parse(options: Namespace) -> Settings:
    """The arguments of the command line. Raises Unfit."""
    if not (options.seed.isascii() and options.seed.isdigit()):
        raise Unfit(f"--seed {options.seed}: give a whole number from 0 on")
    return Settings(
        sizes=parse_sizes(options.size),
        backends=None if options.backend is None else names_of("--backend", options.backend, BACKENDS),
        dtypes=names_of("--dtype", options.dtype, DTYPES),
        seed=int(options.seed),
    )
