"""The page that `explain` prints, written from the data of a cell; a list of sections, so that a notebook can set them too."""

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unicodedata import combining

from rnndsl.families import AFFINE, LOG, MAX_PLUS
from rnndsl.tools.columns import columns as page_columns
from rnndsl.tools.data import MODEL, ROUNDS

WIDTH = 110  # where nobody asks for another
MARGIN = 6  # by which lines are indented at most, beyond that
_KEY = 13  # columns of the names in front of a component's facts


@dataclass(frozen=True)
class Section:
    """A title and the lines below it."""

    title: str
    lines: tuple[str, ...]


def title(cell: dict[str, Any], file: str) -> str:
    """`GRU(D, H)  gru.rnn:4`."""
    return f"{cell['name']}({', '.join(cell['header'])})  {file}:{cell['line']}"


def sections(cell: dict[str, Any]) -> list[Section]:
    """The sections of a cell's page."""
    parts = [
        Section("Equations", tuple(_equations(cell))),
        Section("Once a call, from params alone", tuple(_operations(cell["once_a_call"]))),
        Section("For all steps at once, before the recurrence", tuple(_operations(cell["hoisted"]))),
    ]
    many = len(cell["components"])
    for i, c in enumerate(cell["components"], 1):
        place = f"Component {i} of {many}: " if many > 1 else "Component: "
        parts.append(Section(place + ", ".join(c["states"]), tuple(_component(c))))
    parts.append(Section("After the recurrence, for all steps at once", (*_operations(cell["after"]), *_outputs(cell))))
    parts.append(Section("Cost of one step of one sequence", tuple(_costs(cell))))
    parts.append(Section(_shape_title(cell), tuple(_schedules(cell))))
    if cell["warnings"]:
        parts.append(Section("Mind", tuple(line for w in cell["warnings"] for line in _wrapped(w))))
    return [p for p in parts if p.lines]


def page(cell: dict[str, Any], file: str) -> str:
    """The whole page; ends without a newline."""
    head = title(cell, file)
    lines = [head, "=" * len(head)]
    lines += _wrapped(cell["doc"]) if cell["doc"] else []
    for s in sections(cell):
        lines += ["", s.title, *(f"  {line}".rstrip() for line in s.lines)]
    return "\n".join(lines)


def _wrapped(text: str, before: int = 0, hang: str = "") -> list[str]:
    """The lines of a text that stands behind `before` columns."""
    return textwrap.wrap(text, max(page_columns(WIDTH) - before, 20), subsequent_indent=hang, break_long_words=False, break_on_hyphens=False) or [""]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Two columns, the second wrapped below itself."""
    rows = list(rows)
    wide = min(max((len(left) for left, _ in rows), default=0), page_columns(WIDTH) * 2 // 5)
    lines = []
    for left, right in rows:
        first, *rest = _wrapped(right, wide + 2, "  ") if right else [""]
        lines += [f"{left:<{wide}}  {first}".rstrip(), *(" " * (wide + 2) + r for r in rest)]
    return lines


def _equations(cell: dict[str, Any]) -> list[str]:
    rows = [*cell["functions"], *cell["equations"]]
    wide = max((len(str(r["line"])) for r in rows), default=0)
    return [f"{r['line']:>{wide}} | {r['text']}" for r in rows]


# Operations


def _operations(operations: list[dict[str, Any]]) -> list[str]:
    lines = []
    for o in operations:
        pad = "  " * o.get("depth", 0)
        match o["kind"]:
            case "product":
                lines.append(f"{pad}{', '.join(o['matrices'])} @ {o['operand']}: one {o['shape']} product over {o['rows']} rows")
                lines.append(f"{pad}  gives {', '.join(o['names'])}")
            case "stacked":
                lines.append(f"{pad}{o['name']}: {o['shape']} = {', '.join(o['matrices'])}, stacked")
            case "repeat":
                lines.append(f"{pad}{o['text']}:")
            case _:
                where = "  (in the kernel)" if o.get("in_kernel") else ""
                lines += [pad + line for line in _wrapped(f"{o['name']}: {o['shape']} = {o['text']}{where}", 0, "    ")]
                lines += [f"{pad}  {p['matrix']} @ {p['operand']}: a {p['shape']} product over B*T rows" for p in o["products"]]
    return lines


def _outputs(cell: dict[str, Any]) -> list[str]:
    return [f"output {o['name']}" + ("" if o["text"] in (o["name"], f"{o['name']}[t]") else f" = {o['text']}") for o in cell["outputs"]]


# Components


def _component(c: dict[str, Any]) -> list[str]:
    if not c["schedules"] or c["schedules"] == ["all steps at once"]:
        return [f"no recurrence: {c['reason']}; computed for all steps at once"]
    family = c["family"] + (": one exact scan, no iteration" if "exact scan" in c["schedules"] else "")
    columns = c["jacobian"]["columns"]
    if c["slots"] > len(columns):  # of complex values
        columns = [f"re and im of {name}" for name in columns]
    slots = f"{c['slots']}: {', '.join(columns)}" if columns else str(c["slots"])
    rows = [("family", family), ("structure", f"{c['structure']}, {c['reason'].split(' ', 1)[1]}"), ("slots", slots)]
    if c["family"] == AFFINE and c["time_invariant"] is not None:
        rows.append(("in time", "invariant: the same factor at every step" if c["time_invariant"] else "the factor changes with the step"))
    rows += [("box", text) for text in boxes(c)]
    rows.append(("streams", ", ".join(c["streams"]) or "none"))
    lines = _facts(rows)
    lines += ["", *_jacobian(c)]
    if c["scan"]:
        lines += ["", *_scan(c)]
    if c["chunks"]:
        lines += ["", *_chunks(c["chunks"])]
    return lines


def _chunks(form: dict[str, Any]) -> list[str]:
    """What a chunk of steps is solved by."""
    if "reason" in form:
        return _wrapped(f"No normal form for chunks of steps: {form['reason']}", 0, "  ")
    lines = ["Normal form, for chunks of steps", *(line for e in form["equations"] for line in _wrapped(f"  {e}", 0, "    "))]
    lines += [line for w in form["where"] for line in _wrapped(f"    {w['name']:<3} = {w['text']}", 0, "        ")]
    bounded = "decays are at most 1 in size" if form["bounded"] else "each call looks whether products of decays stay small"
    return [*lines, f"  {bounded}; {'the states of all steps are computed' if form['states'] else 'what reads the states is read of the chunks'}"]


def _mentioned(texts: Iterable[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of some named formulas that texts mention, and the compiler's own that these are made of."""
    words = set().union(*map(_words, texts))
    kept = []
    for row in reversed(rows):  # one mentions those before it alone
        if row["name"] in words:
            kept.append(row)
            if row.get("made"):
                words |= _words(row["text"])
    return kept[::-1]


def _facts(rows: list[tuple[str, str]]) -> list[str]:
    lines, previous = [], None
    for key, text in rows:
        first, *rest = _wrapped(text, _KEY)
        lines += [f"{'' if key == previous else key:<{_KEY}}{first}", *(" " * _KEY + r for r in rest)]
        previous = key
    return lines


def boxes(c: dict[str, Any]) -> list[str]:
    """Where a component's states are proven to stay: `h in [-1, 1] if it starts there`."""
    found = []
    for state, b in c["bounds"].items():
        if b["low"] is None and b["high"] is None:
            continue
        low = "-inf" if b["low"] is None else f"{b['low']:.4g}"
        high = "inf" if b["high"] is None else f"{b['high']:.4g}"
        assumed = ", ".join(f"{n} = {v:g}" for n, v in b["assumes"].items())
        found.append(f"{state} in [{low}, {high}] if it starts there{f', assuming {assumed}' if assumed else ''}")
    return found


def _jacobian(c: dict[str, Any]) -> list[str]:
    j = c["jacobian"]
    lines = _wrapped(f"Jacobian: {j['form']}", 0, "  ")
    if len(j["rows"]) * len(j["columns"]) > 1:
        lines += ["  " + line for line in pattern(j)]
    lines += derivatives(j)
    if j["rounds"]:
        lines.append(f"(the repeat is shown with {j['rounds']} rounds; a --size of up to {ROUNDS} rounds is written out)")
    return lines


def derivatives(j: dict[str, Any]) -> list[str]:
    """The entries of a Jacobian, what the names in them stand for, and the derivatives inside those."""
    lines = ["  " + line for line in _entries(j["entries"])]
    through = [t for t in j["through"] if t["entries"] or t["text"]]
    named = _mentioned([e["text"] for e in (*j["entries"], *(e for t in through for e in t["entries"]))], j["locals"])
    given = {f"∂{e['of']}/∂{e['by']}" for e in j["entries"]}
    where = [(row["name"], f"= {row['text']}") for row in named if not row["name"].endswith("[t]") and row["name"] not in given]
    where += [(t["name"], f"= {t['text']}") for t in through]
    if where:
        lines += ["where", *("  " + line for line in _table(where))]
    chained = [e for t in through for e in t["entries"] if e["text"] != "1" or e["by"] not in j["columns"]]
    shown = {(e["of"], e["by"]) for e in j["entries"]}
    chained = list({(e["of"], e["by"]): e for e in chained if (e["of"], e["by"]) not in shown}.values())
    if chained:
        lines += ["and inside those", *("  " + line for line in _entries(chained))]
    return lines


def _entries(entries: list[dict[str, Any]]) -> list[str]:
    rows = []
    for e in entries:
        size = e.get("size_at_most")
        of = f"({e['of']})" if " " in e["of"] or "*" in e["of"] else e["of"]
        rows.append((f"∂{of}/∂{e['by']}", f"= {e['text']}" + (f"    at most {size:.4g} in size" if size is not None else "")))
    return _table(rows)


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a formula, as a word of its own."""
    return name in _words(text)


_DERIVATIVE = re.compile(r"\((∂(?:[^()]|\([^()]*\))*)\)|^(∂[^ ]*/∂[^ ]*)$")  # in brackets, or by itself


def _words(text: str) -> set[str]:
    names = "".join(c if c.isalnum() or c == "_" or combining(c) else " " for c in text).split()
    return {*names, *(a or b for a, b in _DERIVATIVE.findall(text))}


def pattern(j: dict[str, Any]) -> list[str]:
    """Which new state depends on which old value: a dot matrix with its names."""
    wide = max(len(r) for r in j["rows"])
    head = " " * wide + "  " + "  ".join(j["columns"])
    rows = [
        f"{r:<{wide}}  " + "  ".join(("x" if on else ".").center(len(n)) for on, n in zip(row, j["columns"], strict=True)).rstrip()
        for r, row in zip(j["rows"], j["pattern"], strict=True)
    ]
    return [head, *rows]


def _scan(c: dict[str, Any]) -> list[str]:
    join, times, zero = {
        AFFINE: (" + ", " * ", "0"),
        MAX_PLUS: ("max", " + ", "-inf"),
        LOG: ("logaddexp", " + ", "-inf"),
    }[c["family"]]
    columns = c["scan"]["columns"]
    several = len(c["scan"]["b"]) > 1 or len(columns) > 1
    lines = ["Exact scan"]
    rows = []
    factor, offset = _coefficients(c)
    for i, (state, row, b) in enumerate(zip(c["jacobian"]["rows"], c["scan"]["a"], c["scan"]["b"], strict=True), 1):
        names = [f"{factor}{i}{k}" if several else factor for k in range(1, len(row) + 1)]
        terms = [f"{n}{times}{s}" for n, s, a in zip(names, columns, row, strict=True) if a is not None]
        own = f"{offset}{i}" if several else offset
        terms += [own] if b is not None else []
        text = join.join(terms) if join.startswith(" ") else f"{join}({', '.join(terms)})" if len(terms) > 1 else "".join(terms)
        lines.append(f"  {state} = {text or zero}")
        rows += [(n, f"= {a}") for n, a in zip(names, row, strict=True) if a is not None]
        rows += [(own, f"= {b}")] if b is not None else []
    rows += [(part["name"], f"= {part['text']}") for part in c["scan"].get("locals", ())]
    return lines + ["  " + line for line in _table(rows)]


def _coefficients(c: dict[str, Any]) -> tuple[str, str]:
    """Names for the coefficients that the component's formulas do not use."""
    texts = [t for row in (*c["scan"]["a"], c["scan"]["b"]) for t in row if t] + c["scan"]["columns"]
    words = set(re.findall(r"\w+", " ".join(texts)))
    pairs = (("a", "b"), ("A", "B"), ("factor", "offset"), ("factor_", "offset_"))
    return next((p for p in pairs if not any(re.match(rf"{n}\d*$", w) for n in p for w in words)), pairs[-1])


# Costs and schedules


def count(c: dict[str, Any]) -> str:
    """`11*H`, or `11*H = 2,816` where the sizes are known."""
    value = c["value"]
    return c["formula"] if value is None or c["formula"] == f"{value:g}" else f"{c['formula']} = {value:,.0f}"


def _costs(cell: dict[str, Any]) -> list[str]:
    rows = [("all steps", cell["cost"]["hoisted"])]
    rows += [(", ".join(c["states"]), c["cost"]) for c in cell["components"] if c["cost"]]
    if len(rows) > 1:
        rows.append(("in all", cell["cost"]["step"]))
    lines = []
    for name, c in rows:
        if name == "all steps" and c["bytes_forward"]["formula"] == "0":
            continue
        special = "" if c["special_functions"]["formula"] == "0" else f" and {count(c['special_functions'])} special functions"
        ratio = c["intensity"]
        each = "" if ratio is None else f"; {ratio if isinstance(ratio, str) else f'{ratio:.3g}'} operations a byte forward"
        text = f"{count(c['flops'])} operations{special}; {count(c['bytes_forward'])} bytes forward, "
        text += f"{count(c['bytes_backward'])} backward{each}"
        lines += _facts([(name if len(name) < _KEY else name[: _KEY - 2] + "…", text)])
    lines += _wrapped("(values in float32; params are not counted, since they stay close by from step to step)")
    return lines


def _shape_title(cell: dict[str, Any]) -> str:
    if not cell["shape"]:
        return "Schedules"
    sizes = "".join(f", {n} = {v}" for n, v in cell["sizes"].items() if v is not None)
    return f"Schedule for B = {cell['shape']['B']}, T = {cell['shape']['T']}{sizes}"


def _schedules(cell: dict[str, Any]) -> list[str]:
    lines = []
    for c in cell["components"]:
        name = ", ".join(c["states"])
        p = c["predicted"]
        if p is None:
            text = " or ".join(c["schedules"])
            if len(c["schedules"]) > 1:
                text += ", as the shape has it (--shape B,T)"
        elif p["schedule"] is None:
            text = f"{' or '.join(c['schedules'])}: {p['why']}; give --size {' '.join(f'{n}=…' for n in p['needs'])}"
        else:
            text = f"{p['schedule']} ({p['why']})"
        lines += _facts([(name if len(name) < _KEY else name[: _KEY - 2] + "…", text)])
        if c["ranks"]:
            lines += _facts([("", c["ranks"]["text"])])
        if c["saved"]:
            lines += _facts([("", "saved for the backward pass: " + ", ".join(f"{s['name']} {s['shape']}" for s in c["saved"]))])
    return [*lines, *_wrapped(f"({MODEL})")]
