"""Names for the arguments of a kernel, in the order in which the runtime passes them."""

import re
from dataclasses import dataclass, field

from rnndsl.emit.cpp.scope import Scope, state_numbers_exact


def read_by(arguments: dict[str, str], lines: list[str], depth: int) -> list[str]:
    """The declarations of those arguments that lines of a function read."""
    read = set(re.findall(r"\w+", " ".join(line.partition("//")[0] for line in lines)))  # not what an equation behind it calls so
    return [f"{'  ' * depth}{declaration}" for name, declaration in arguments.items() if name in read]


@dataclass
class _Arguments:
    """Arguments by name, and how each is declared; the next one's place in the call."""

    f: Scope
    found: dict[str, str] = field(default_factory=dict)
    place: int = 0

    def array(self, name: str) -> None:
        self.found[name] = f"const Array {name} = call.arrays[{self.place}];"
        self.place += 1

    def pointer(self, name: str, kind: str = "T") -> None:
        self.found[name] = f"{kind}* {name} = call.arrays[{self.place}].at<{kind}>(0, 0);"
        self.place += 1

    def firsts(self) -> None:
        """First values: the parts and lags of a state are one array of arrays."""
        f, carries = self.f, self.f.step.carries
        firsts: dict[int, list[int]] = {}
        exact = state_numbers_exact(f.step)
        for i in range(len(carries)):
            firsts.setdefault(exact[i], []).append(self.place + i)
        self.place += len(carries)
        for first, places in firsts.items():
            listed = ", ".join(f"call.arrays[{p}]" for p in places)
            name = f.names(("firsts", first), f"{carries[first][0].label}_first")
            self.found[name] = f"const Array {name}[] = {{{listed}}};"

    def read(self) -> None:
        """What every direction reads, in the end the states of all steps; those of forward calls are written."""
        f, step = self.f, self.f.step
        for i in range(len(step.streams)):
            self.array(f.leaf_name("streams", i))
        for i in range(len(step.statics)):
            self.pointer(f.leaf_name("statics", i), "const T")
        self.firsts()
        for i, (a, lag) in enumerate(step.carries):
            name = f.names(("initial", i), f"{a.label}_{lag}_initial")
            if f.direction == "step":
                self.found[name] = f"const Array {name}{{}};  // nothing is reset"
            else:
                self.array(name)
        for i, (a, lag) in enumerate(step.carries):
            if lag == 1:
                self.array(f.names(("sequence", i), f"{a.label}_all"))

    def results(self) -> None:
        """What calls forwards write; steps and rows carry nothing on."""
        f, step = self.f, self.f.step
        if f.direction == "forward":
            for i, (a, lag) in enumerate(step.carries):
                self.array(f.names(("final", i), f"{a.label}_{lag}_final"))
        for i, (a, _) in enumerate(step.outputs):
            self.array(f.names(("output", i), f"{a.label}_out"))

    def gradients(self) -> None:
        """What calls backwards read of the results, and write of what was given."""
        f, step = self.f, self.f.step
        for i, (a, lag) in enumerate(step.carries):
            if lag == 1:
                self.array(f.names(("state_gradient", i), f"d_{a.label}"))
        for i, (a, lag) in enumerate(step.carries):
            self.array(f.names(("final_gradient", i), f"d_{a.label}_{lag}_final"))
        for i, (a, _) in enumerate(step.outputs):
            self.array(f.names(("follow_gradient", i), f"d_{a.label}"))
        for i, a in enumerate(step.streams):
            self.array(f.names(("stream_gradient", i), f"d_{a.label}"))
        for i, a in enumerate(step.statics):
            self.pointer(f.names(("static_gradient", i), f"d_{a.label}"))
        for i, (a, lag) in enumerate(step.carries):
            self.array(f.names(("first_gradient", i), f"d_{a.label}_{lag}_first"))
        for i, (a, lag) in enumerate(step.carries):
            self.pointer(f.names(("initial_gradient", i), f"d_{a.label}_{lag}_initial"))
        for k in range(len(f.program.outers)):
            self.array(f.names(("outer_left", k), f"left{k}"))
            self.array(f.names(("outer_right", k), f"right{k}"))


def arguments_of(f: Scope) -> dict[str, str]:
    """The names for what the call holds, and how each is declared."""
    arguments = _Arguments(f)
    arguments.read()
    if f.direction in ("step", "rows", "forward"):
        arguments.results()
    else:
        arguments.gradients()
    for n in f.saved:
        arguments.array(f.saved_name(n))
    for i, h in enumerate(f.hypers):
        name = f.names(("hyper", h), h)
        arguments.found[name] = f"const T {name} = T(call.hypers[{i}]);"
    return arguments.found
