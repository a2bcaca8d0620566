"""Identifiers of generated Triton that clash with nothing it uses."""

import re

from rnndsl.emit.naming import RESERVED as PYTHON
from rnndsl.emit.naming import Names
from rnndsl.emit.triton.text import LIBRARY

_USED = """
tl triton math float32 float64 REAL CHANNELS BATCH STEPS BLOCK AHEAD LANES LANE_STEPS NONE T log1p Access Channels
n live row channel lane time t t0 c j here valid restart restarts reset report base offset
start end next_start gap moved pending rounds settled good residual worst alone count cap first chunk now ahead u p
tolerance loose left right INNER d iterations longest chunks exact accepted
""".split()
# Names that the templates make out of others end so, or begin so
_MADE = re.compile(r"_(first|initial|all|final|start|end|next|gap|moved|low|high|sum|rows|times|at|out|back|older|array|begin|restart|kernels|seed|value|into|d|carried|lone|shifted|added|last|before|product|exact|alone|parallel|channels|step|linear|coefficients|"
                   r"slopes|pullback|compose|sequential|newton|scan|shift)$|^[ABJMO]_\d")  # fmt: skip
RESERVED = PYTHON | LIBRARY | frozenset(_USED) | frozenset(f"{c}{k}" for c in ("i", "c") for k in range(30))


class TritonNames(Names):
    """Gives each key one identifier, of a generated file or, by `child`, of one function in it."""

    def __init__(self) -> None:
        super().__init__(RESERVED)

    def _fresh(self, wanted: str) -> str:
        return super()._fresh(f"{wanted}_" if _MADE.search(wanted) else wanted)

    def made(self, key: object, wanted: str) -> str:
        """A name that may end as those of the templates do."""
        if key not in self._given:
            self._given[key] = super()._fresh(wanted)
        return self._given[key]

    def child(self) -> "TritonNames":
        """Names of an inner scope: those given so far stand, and new ones stay inside."""
        inner = TritonNames()
        inner._taken, inner._given = set(self._taken), dict(self._given)
        return inner

    def of(self, parameters: list[str]) -> "TritonNames":
        """Names of a function that has these parameters."""
        inner = self.child()
        for p in parameters:
            inner.keep(("parameter", p), p)
        return inner
