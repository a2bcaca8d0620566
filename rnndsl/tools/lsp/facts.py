"""What the compiler makes of a name, as paragraphs of Markdown: from the data of `explain`."""

from collections.abc import Container, Iterator
from typing import Any

from rnndsl.tools.lsp.outline import Symbol
from rnndsl.tools.page import boxes, derivatives, mentions

_LINES = 40  # of a Jacobian


def facts(symbol: Symbol, data: dict[str, Any], own: Container[str]) -> Iterator[str]:
    """Paragraphs about a name of a cell; `own` are the names of the program, all others are the compiler's."""
    match symbol.role:
        case "cell":
            yield from ([data["doc"]] if data["doc"] else [])
            lines = [f"- **{', '.join(c['states'])}**: {_kind(c)}" for c in data["components"]]
            yield "\n".join(["Recurrences, in the order in which they are solved:\n", *lines]) if lines else "It has no state."
        case "state":
            yield from _state(symbol.name, data, own)
        case "local":
            yield from _local(symbol.name, data, own)
        case "param" | "const" | "input" | "noise":
            yield from _products(symbol.name, data)


def _kind(c: dict[str, Any]) -> str:
    if not c["jacobian"]:
        return "no recurrence, so computed for all steps at once"
    return f"{c['family']}, {c['structure']}, {c['reason'].split(' ', 1)[1]}"


def _state(name: str, data: dict[str, Any], own: Container[str]) -> Iterator[str]:
    c = next(c for c in data["components"] if name in c["states"])
    yield f"Recurrence of **{', '.join(c['states'])}**: {_kind(c)}."
    if not c["jacobian"]:
        return
    yield from (f"Stays {text.removeprefix(name).lstrip()}." for text in boxes(c) if text.split()[0] == name)
    yield from _every_step(f"{name}[t]", c, data, own)
    lines = derivatives(_of_one(f"{name}[t]", c["jacobian"]))
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"  … and {len(lines) - _LINES} lines that `rnndsl explain` prints"]
    yield _block(f"Jacobian: {c['jacobian']['form']}", lines, "text")


def _of_one(new: str, j: dict[str, Any]) -> dict[str, Any]:
    """The Jacobian's row of one new value, with what its entries mention."""
    entries = [e for e in j["entries"] if e["of"] == new]
    texts = [e["text"] + " " + e["by"] for e in entries]
    through: list[dict[str, Any]] = []
    for t in reversed(j["through"]):  # one mentions those before it alone
        if any(mentions(text, t["name"]) for text in texts):
            through.insert(0, t)
            texts += [t["text"], *(e["text"] + " " + e["by"] for e in t["entries"])]
    return {**j, "entries": entries, "through": through}


def _local(name: str, data: dict[str, Any], own: Container[str]) -> Iterator[str]:
    """Where a local is computed; one that both a recurrence and an output need is computed in two places."""
    if any(name in _names(o) for o in data["once_a_call"]):
        yield "Computed once a call: it depends on params alone."
    if any(name in _names(o) for o in data["hoisted"]):
        yield "Hoisted: computed for all steps at once, before the recurrence."
    for c in data["components"]:
        if any(name in _names(o) for o in c["equations"]):
            yield from _every_step(name, c, data, own)
    if any(name in _names(o) for o in data["after"]):
        yield "Computed for all steps at once, after the recurrence."


def _every_step(name: str, c: dict[str, Any], data: dict[str, Any], own: Container[str]) -> Iterator[str]:
    """What has been taken out of an equation of a recurrence, and what is left of it at every step."""
    places = {"once": data["once_a_call"], "ahead": data["hoisted"], "inside": c["equations"]}
    made = {n: (place, line) for place, operations in places.items() for o in operations for n, line in _lines(o) if n not in own}
    equations = [f"{name} = {o['text']}" for o in c["equations"] if o.get("name") == name]
    wanted, seen = list(equations), set()
    while wanted:
        text = wanted.pop()
        new = [n for n in made if n not in seen and mentions(text, n)]
        seen.update(new)
        wanted += [made[n][1] for n in new]
    lines = {place: [line for n, (where, line) in made.items() if where == place and n in seen] for place in places}
    if lines["once"]:
        yield _block("Once a call:", lines["once"])
    if lines["ahead"]:
        yield _block("Hoisted, for all steps at once:", lines["ahead"])
    where = f"At every step, in the recurrence of **{', '.join(c['states'])}**"
    if lines["once"] or lines["ahead"] or lines["inside"]:
        yield _block(f"{where}:", [*lines["inside"], *equations])
    else:
        yield f"{where}; nothing of it is hoisted."


def _block(head: str, lines: list[str], language: str = "rnn") -> str:
    return "\n".join([head, f"```{language}", *lines, "```"])


def _lines(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each name that an operation binds, and its equation."""
    if operation["kind"] == "product":
        for name, matrix in zip(operation["names"], operation["matrices"], strict=True):
            yield name, f"{name} = {matrix} @ {operation['operand']}"
    elif operation["kind"] == "equation":
        yield operation["name"], f"{operation['name']} = {operation['text']}"


def _names(operation: dict[str, Any]) -> list[str]:
    return operation.get("names") or [operation.get("name", "")]


def _products(name: str, data: dict[str, Any]) -> Iterator[str]:
    """The matrix products that a declared value takes part in."""
    lines = []
    places = [("for all steps at once", data["hoisted"]), *(("at every step", c["equations"]) for c in data["components"])]
    for when, operations in [*places, ("for all steps at once", data["after"])]:
        for o in operations:
            products = [{"matrix": m, "operand": o["operand"]} for m in o["matrices"]] if o["kind"] == "product" else o.get("products", [])
            together = f", one {o['shape']} product with the others of `{o['operand']}`" if o["kind"] == "product" and len(products) > 1 else ""
            texts = [f"{p['matrix']} @ {p['operand']}" for p in products]
            lines += [f"- `{text}` {when}{together}" for text in texts if mentions(text, name)]
    if lines:
        yield "\n".join(dict.fromkeys(lines))
