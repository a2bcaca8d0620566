"""Names for the arguments of a kernel, in the order in which the runtime passes them."""

import re

from rnndsl.emit.cpp.scope import Scope, state_numbers_exact


def read_by(arguments: dict[str, str], lines: list[str], depth: int) -> list[str]:
    """The declarations of those arguments that lines of a function read."""
    read = set(re.findall(r"\w+", " ".join(line.partition("//")[0] for line in lines)))  # not what an equation behind it calls so
    return [f"{'  ' * depth}{declaration}" for name, declaration in arguments.items() if name in read]


def arguments_of(f: Scope) -> dict[str, str]:
    """The names for what the call holds, and how each is declared."""
    step = f.step
    place = 0
    found: dict[str, str] = {}

    def array(name: str) -> None:
        nonlocal place
        found[name] = f"const Array {name} = call.arrays[{place}];"
        place += 1

    def pointer(name: str, kind: str = "T") -> None:
        nonlocal place
        found[name] = f"{kind}* {name} = call.arrays[{place}].at<{kind}>(0, 0);"
        place += 1

    for i in range(len(step.streams)):
        array(f.leaf_name("streams", i))
    for i in range(len(step.statics)):
        pointer(f.leaf_name("statics", i), "const T")
    firsts: dict[int, list[int]] = {}
    exact = state_numbers_exact(step)
    for i in range(len(step.carries)):
        firsts.setdefault(exact[i], []).append(place + i)
    place += len(step.carries)
    for first, places in firsts.items():
        array_ = step.carries[first][0]
        listed = ", ".join(f"call.arrays[{p}]" for p in places)
        name = f.names(("firsts", first), f"{array_.label}_first")
        found[name] = f"const Array {name}[] = {{{listed}}};"
    for i, (a, lag) in enumerate(step.carries):
        name = f.names(("initial", i), f"{a.label}_{lag}_initial")
        if f.direction == "step":
            found[name] = f"const Array {name}{{}};  // nothing is reset"
        else:
            array(name)
    kept = [i for i, (_, lag) in enumerate(step.carries) if lag == 1]
    for i in kept:
        array(f.names(("sequence", i), f"{step.carries[i][0].label}_all"))
    if f.direction in ("step", "rows"):
        for i, (a, _) in enumerate(step.outputs):
            array(f.names(("output", i), f"{a.label}_out"))
    elif f.direction == "forward":
        for i, (a, lag) in enumerate(step.carries):
            array(f.names(("final", i), f"{a.label}_{lag}_final"))
        for i, (a, _) in enumerate(step.outputs):
            array(f.names(("output", i), f"{a.label}_out"))
    else:
        for i in kept:
            array(f.names(("state_gradient", i), f"d_{step.carries[i][0].label}"))
        for i, (a, lag) in enumerate(step.carries):
            array(f.names(("final_gradient", i), f"d_{a.label}_{lag}_final"))
        for i, (a, _) in enumerate(step.outputs):
            array(f.names(("follow_gradient", i), f"d_{a.label}"))
        for i, a in enumerate(step.streams):
            array(f.names(("stream_gradient", i), f"d_{a.label}"))
        for i, a in enumerate(step.statics):
            pointer(f.names(("static_gradient", i), f"d_{a.label}"))
        for i, (a, lag) in enumerate(step.carries):
            array(f.names(("first_gradient", i), f"d_{a.label}_{lag}_first"))
        for i, (a, lag) in enumerate(step.carries):
            pointer(f.names(("initial_gradient", i), f"d_{a.label}_{lag}_initial"))
        for k in range(len(f.program.outers)):
            array(f.names(("outer_left", k), f"left{k}"))
            array(f.names(("outer_right", k), f"right{k}"))
    for n in f.saved:
        array(f.saved_name(n))
    for i, h in enumerate(f.hypers):
        name = f.names(("hyper", h), h)
        found[name] = f"const T {name} = T(call.hypers[{i}]);"
    return found
