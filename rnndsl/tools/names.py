"""What a reader is shown for the names that the compiler made: `z.in` becomes `z_in`, unless the program has a `z_in`."""

import re

from rnndsl.checks.cell import Cell, Let, Ref, Repeat
from rnndsl.plan.single import own_name


def timed(name: str, lag: int) -> str:
    """`h[t]`, `h[t-1]`."""
    return f"{name}[t-{lag}]" if lag else f"{name}[t]"


class Shown:
    """Names as a reader sees them; the same internal name always gets the same one.

    A local that is bound again has one name, the program's, unless `apart` asks for one a binding.
    """

    def __init__(self, cell: Cell, apart: bool = False):
        self.apart = apart
        self._given: dict[str, str] = {}
        own = {v.name for v in cell.variables} | set(cell.sizes) | {h.name for h in cell.hypers}
        for s in cell.body:
            own |= {let.name for let in s.body} if isinstance(s, Repeat) else {s.name} if isinstance(s, Let) else set()
        self._taken = {n for n in own if "." not in n and ":" not in n}

    def __call__(self, name: str) -> str:
        """The name to show."""
        return self._shown(name if self.apart else own_name(name))

    def binding(self, name: str) -> str:
        """The name to show where several bindings of it are read."""
        return self._shown(name)

    def _shown(self, name: str) -> str:
        if name in self._taken and "." not in name:
            return name
        if name not in self._given:
            wanted = re.sub(r"[^\w\[\]]+", "_", name).strip("_") or "v"
            unique, n = wanted, 2
            while unique in self._taken or unique in self._given.values():
                unique, n = f"{wanted}_{n}", n + 1
            self._given[name] = unique
        return self._given[name]

    def ref(self, ref: Ref) -> str:
        """A name as the program writes it, with its time."""
        if ref.role == "state" or (ref.role == "input" and ref.lag):
            return timed(ref.name, ref.lag)
        return self(ref.name)
