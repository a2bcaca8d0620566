"""Names for the arguments of a kernel, in the order in which the runtime passes them."""

from rnndsl.emit.cpp.scope import Scope, state_numbers_exact


def write_arguments(f: Scope, depth: int) -> None:
    """Appends names for what the call holds."""
    step = f.step
    place = 0

    def array(name: str) -> None:
        nonlocal place
        f.put(f"const Array {name} = call.arrays[{place}];", depth)
        place += 1

    for i in range(len(step.streams)):
        array(f.leaf_name("streams", i))
    for i in range(len(step.statics)):
        f.put(f"const T* {f.leaf_name('statics', i)} = call.arrays[{place}].at<const T>(0, 0);", depth)
        place += 1
    firsts: dict[int, list[int]] = {}
    exact = state_numbers_exact(step)
    for i in range(len(step.carries)):
        firsts.setdefault(exact[i], []).append(place + i)
    place += len(step.carries)
    for first, places in firsts.items():
        array_ = step.carries[first][0]
        listed = ", ".join(f"call.arrays[{p}]" for p in places)
        f.put(f"const Array {f.names(('firsts', first), f'{array_.label}_first')}[] = {{{listed}}};", depth)
    for i, (a, lag) in enumerate(step.carries):
        name = f.names(("initial", i), f"{a.label}_{lag}_initial")
        if f.direction == "step":
            f.put(f"const Array {name}{{}};  // nothing is reset", depth)
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
            f.put(f"T* {f.names(('static_gradient', i), f'd_{a.label}')} = call.arrays[{place}].at<T>(0, 0);", depth)
            place += 1
        for i, (a, lag) in enumerate(step.carries):
            array(f.names(("first_gradient", i), f"d_{a.label}_{lag}_first"))
        for i, (a, lag) in enumerate(step.carries):
            f.put(f"T* {f.names(('initial_gradient', i), f'd_{a.label}_{lag}_initial')} = call.arrays[{place}].at<T>(0, 0);", depth)
            place += 1
        for k in range(len(f.program.outers)):
            array(f.names(("outer_left", k), f"left{k}"))
            array(f.names(("outer_right", k), f"right{k}"))
    for n in f.saved:
        array(f.saved_name(n))
    read = {f.nodes[a].of(str) for n in f.used if n not in f.uniform for a in f.nodes[n].args if f.nodes[a].op == "hyper"}
    for i, h in enumerate(f.hypers):
        if h in read:
            f.put(f"const T {f.names(('hyper', h), h)} = T(call.hypers[{i}]);", depth)
