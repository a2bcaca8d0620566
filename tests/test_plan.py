"""Plans: each rule of a legal plan is named when a plan breaks it; the plans of the examples are golden files."""

from dataclasses import replace
from pathlib import Path

import pytest

from rnndsl import api, compiler
from rnndsl.checks.cell import Apply, Let, Number, Ref, Repeat, Type, Update
from rnndsl.checks.dims import Dim
from rnndsl.diagnostics import Source
from rnndsl.plan import verify as rules
from rnndsl.plan.ir import Gemm, Map, Plan, Scan
from rnndsl.plan.verify import RULES, IllegalPlan, verify
from tests.features import FEATURES, program

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rnn"))
GOLDEN = Path(__file__).parent / "golden" / "plans"

TEXT = """cell C(D, H):
  input x: [D]
  state h, c: [H]
  param W, V: [H, D]
  param a, b: [H]
  g = sigmoid(W @ x + a * h[t-1])
  h[t] = g * h[t-1] + (1 - g) * tanh(V @ x)
  c[t] = c[t-1] * exp(-exp(b)) + h[t] + h[t-2]
  output c, y = c[t] * g
"""


def plan_of(text: str) -> Plan:
    (plan,) = compiler.compiled(Source("c.rnn", text)).plans
    return plan


@pytest.fixture
def plan() -> Plan:
    return plan_of(TEXT)


def with_stage(plan: Plan, place: int, **changes) -> Plan:
    stages = list(plan.stages)
    stages[place] = replace(stages[place], **changes)
    return replace(plan, stages=tuple(stages))


def first(plan: Plan, kind: type) -> int:
    return next(i for i, s in enumerate(plan.stages) if isinstance(s, kind))


def broken(plan: Plan, rule: str, *words: str) -> None:
    """The plan breaks that rule, among others perhaps, and the message says how."""
    problems = list(next(r for r in RULES if r.name == rule).check(plan))
    assert problems, f"rule {rule} sees nothing wrong"
    for word in words:
        assert word in problems[0]
    with pytest.raises(IllegalPlan, match="internal error") as caught:
        verify(plan)
    assert caught.value.rule in {r.name for r in RULES}


V = Ref("nowhere", "local", Type((), (Dim.of("H"),)))


def test_a_good_plan_is_returned(plan):
    assert verify(plan) is plan


def test_every_rule_has_a_name_and_a_line():
    assert len({r.name for r in RULES}) == len(RULES) == 13
    assert all(r.description and "\n" not in r.description for r in RULES)


def test_the_message_names_cell_rule_and_problem(plan):
    at = first(plan, Scan)
    with pytest.raises(IllegalPlan) as caught:
        verify(with_stage(plan, at, body=(*plan.stages[at].body, Let("k", V))))
    assert caught.value.rule == "defined-before-read"
    assert "cell C" in str(caught.value) and "`nowhere` is read by `k`" in str(caught.value)


def test_local_read_before_it_is_defined(plan):
    at = first(plan, Scan)
    broken(with_stage(plan, at, body=plan.stages[at].body[::-1]), "defined-before-read", "before it is defined")


def test_repeat_reads_its_own_lines_in_order(plan):
    repeat = Repeat("k", Dim.of(1), Dim.of(2), (Let("p", Ref("q", "local", V.type)), Let("q", Number(1.0))))
    at = first(plan, Map)
    broken(with_stage(plan, at, body=(*plan.stages[at].body, repeat)), "defined-before-read", "`q`")


def test_name_that_nothing_declares(plan):
    at = first(plan, Scan)
    read = Let("k", Ref("Z", "param", V.type))
    broken(with_stage(plan, at, body=(*plan.stages[at].body, read)), "defined-before-read", "no param is called so")


def test_local_of_a_scan_read_after_it(plan):
    """What a scan computes on its way has no sequence: those after it compute it again."""
    at = first(plan, Scan)
    name = next(o.name for o in plan.stages[at].body if isinstance(o, Let))
    later = next(i for i in range(at + 1, len(plan.stages)) if isinstance(plan.stages[i], Map))
    body = tuple(o for o in plan.stages[later].body if not (isinstance(o, Let) and o.name == name))
    wrong = with_stage(plan, later, body=(*body, Let("k", Ref(name, "local", V.type))))
    broken(wrong, "defined-before-read", f"`{name}` is read by")


REPEATED = """cell C(H):
  input x: [H]
  state h: [H]
  param P: [3; H]
  v = h[t-1]
  repeat k in 1..3:
    v = P[k] * v
  end
  h[t] = 0.5 * v + x
  output y = v
"""


def test_each_binding_has_a_name_of_its_own():
    plan = plan_of(REPEATED)
    (repeat,) = (o for o in plan.scans[0].body if isinstance(o, Repeat))
    (passed,) = repeat.passed
    assert (passed.name, passed.start.name, passed.last) == ("v:2", "v", "v:3")
    assert repeat.results == ("v:3",) and [let.name for let in repeat.body] == ["v:3"]


def test_name_that_is_bound_twice(monkeypatch):
    """Without names of their own for its bindings, no plan of a repeat is legal."""
    monkeypatch.setattr("rnndsl.plan.build.single_assignment", lambda cell: replace(
        cell, body=tuple(replace(s, results=("v",)) if isinstance(s, Repeat) else s for s in cell.body)
    ))  # fmt: skip
    with pytest.raises(IllegalPlan, match="single-assignment.*`v` is bound 2 times in the cell"):
        plan_of(REPEATED)


def test_repeat_that_leaves_what_it_does_not_bind():
    plan = plan_of(REPEATED)
    at = first(plan, Scan)
    body = tuple(replace(o, results=("w",)) if isinstance(o, Repeat) else o for o in plan.stages[at].body)
    broken(with_stage(plan, at, body=body), "single-assignment", "leaves `w`")


def test_what_a_round_alone_knows(plan):
    """Names of the rounds of a repeat are not read after it."""
    plan = plan_of(REPEATED)
    at = first(plan, Scan)
    read = Let("u", Ref("v:2", "local", V.type))
    broken(with_stage(plan, at, body=(*plan.stages[at].body, read)), "defined-before-read", "`v:2`")


KERNELS = """cell C(H):
  input x: [H]
  state q, i: [H]
  q[t] = 0.5 * q[t-1] + x
  z = tanh(q[t-1])
  i[t] = 0.5 * i[t-1] + sigmoid(z)
  output y = z * x
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q, i: (q, replace(i, streams=())), "is not given it"),
        (lambda q, i: (replace(q, exit=None), replace(i, streams=(Ref("w", "local", V.type),))), "given `w`"),
        (lambda q, i: (q, replace(i, entry=(*q.exit.body, *i.entry))), "by 2 kernels"),
        (lambda q, i: (replace(q, exit=replace(q.exit, returned=())), i), "`z`"),
        (lambda q, i: (replace(q, exit=replace(q.exit, ahead=(Let("a", Ref("i", "state", V.type, 1)),))), i), "ahead of `i`"),
    ],
)
def test_kernels_that_do_not_hand_over(change, words, monkeypatch):
    plan = plan_of(KERNELS)
    kernels = rules.recurrences(plan)
    monkeypatch.setattr(rules, "recurrences", lambda plan: change(*kernels))
    problems = list(next(r for r in RULES if r.name == "kernels-defined").check(plan))
    assert any(words in p for p in problems), problems


def test_constant_that_reads_an_input(plan):
    x = Ref("x", "input", Type((), (Dim.of("D"),)))
    broken(replace(plan, constants=(*plan.constants, Let("k", x)), static=plan.static | {"k"}), "constants-static", "`x`")


def test_constant_that_is_not_static(plan):
    broken(replace(plan, static=frozenset()), "constants-static", "not among the names")


def test_static_value_computed_in_a_scan(plan):
    at = first(plan, Scan)
    name = next(o.name for o in plan.stages[at].body if isinstance(o, Let))
    broken(replace(plan, static=plan.static | {name}), "constants-static", name)


def test_state_updated_twice(plan):
    at = first(plan, Scan)
    update = next(o for o in plan.stages[at].body if isinstance(o, Update))
    broken(with_stage(plan, at, body=(*plan.stages[at].body, update)), "one-update", "2 times")


def test_state_never_updated(plan):
    at = first(plan, Scan)
    body = tuple(o for o in plan.stages[at].body if not isinstance(o, Update))
    broken(with_stage(plan, at, body=body), "one-update", "0 times")


def test_state_updated_in_another_scan(plan):
    at = first(plan, Scan)
    broken(with_stage(plan, at, states=("h", "c")), "one-update", "scan of h, c")


@pytest.mark.parametrize(
    "wrong",
    [Type((), (Dim.of("D"),)), Type((Dim.of("N"),), (Dim.of("H"),)), Type((), (Dim.of("H"),), True)],
)
def test_update_of_another_type(plan, wrong):
    at = first(plan, Scan)
    body = tuple(replace(o, value=Ref("W", "param", wrong)) if isinstance(o, Update) else o for o in plan.stages[at].body)
    broken(with_stage(plan, at, body=body), "update-types", str(wrong))


def test_scalar_update_broadcasts(plan):
    at = first(plan, Scan)
    body = tuple(replace(o, value=Number(0.0)) if isinstance(o, Update) else o for o in plan.stages[at].body)
    assert not list(rules._update_types(with_stage(plan, at, body=body)))


def test_scan_reads_what_is_no_stream_of_its_own(plan):
    broken(with_stage(plan, first(plan, Scan), streams=()), "scan-reads", "none of its streams")


def test_scan_reads_another_lag_than_its_stream(plan):
    at = next(i for i, s in enumerate(plan.stages) if isinstance(s, Scan) and s.states == ("c",))
    streams = tuple(replace(r, lag=1) for r in plan.stages[at].streams)
    broken(with_stage(plan, at, streams=streams), "scan-reads")


def test_new_state_read_before_its_update(plan):
    at = first(plan, Scan)
    read = Let("k", Ref("h", "state", V.type, 0))
    broken(with_stage(plan, at, body=(read, *plan.stages[at].body)), "new-states", "`h[t]`")


def test_stream_that_no_earlier_stage_computes(plan):
    broken(replace(plan, stages=plan.stages[1:]), "streams-earlier", "no earlier stage")


def test_stream_that_is_a_param(plan):
    at = first(plan, Scan)
    streams = (*plan.stages[at].streams, Ref("a", "param", V.type))
    broken(with_stage(plan, at, streams=streams), "streams-earlier", "param")


def test_map_that_reads_an_unsolved_state(plan):
    at = first(plan, Map)
    read = Let("k", Ref("h", "state", V.type, 1))
    broken(with_stage(plan, at, body=(*plan.stages[at].body, read)), "map-reads", "`h`", "not solved")


def gemm_at(plan: Plan) -> tuple[int, int, Gemm]:
    return next((i, j, o) for i, s in enumerate(plan.stages) for j, o in enumerate(s.body) if isinstance(o, Gemm))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda g: replace(g, results=g.results[:1]), "1 results for 2 products"),
        (lambda g: replace(g, matrix=replace(g.matrix, type=Type((), (Dim.of("H"), Dim.of("D"))))), "2*H rows"),
        (lambda g: replace(g, operand=V), "its operand is [H]"),
        (lambda g: replace(g, products=g.products[::-1]), "does not stack"),
    ],
)
def test_merged_product_that_does_not_agree_with_its_matrix(plan, change, words):
    at, place, gemm = gemm_at(plan)
    body = list(plan.stages[at].body)
    body[place] = change(gemm)
    broken(with_stage(plan, at, body=tuple(body)), "gemm-rows", words)


def test_output_that_nothing_defines(plan):
    name, _, span = plan.outputs[0]
    broken(replace(plan, outputs=((name, V, span), *plan.outputs[1:])), "outputs-defined", "`nowhere`")


def test_output_that_is_missing(plan):
    broken(replace(plan, outputs=plan.outputs[:1]), "outputs-defined", "the cell returns c, y")


def test_lag_that_nothing_carries(plan):
    broken(replace(plan, carries=tuple(c for c in plan.carries if c.lag == 1)), "carries-cover", "`h[t-2]`")


def test_two_fields_of_one_name(plan):
    broken(replace(plan, carries=plan.carries + plan.carries[:1]), "carries-cover", "two fields")


def test_step_number_that_nothing_carries():
    clock = plan_of(TEXT.replace("tanh(V @ x)", "tanh(V @ x) * t"))
    broken(replace(clock, carries=tuple(c for c in clock.carries if c.role != "clock")), "carries-cover", "step number")


@pytest.mark.parametrize("name", FEATURES)
def test_plans_of_all_features_are_legal(name):
    for p in compiler.compiled(Source("f.rnn", program(name))).plans:
        verify(p)


def test_compile_verifies(monkeypatch, plan):
    """A plan that breaks a rule stops the compiler."""
    monkeypatch.setattr("rnndsl.plan.build.make_plan", lambda cell: replace(plan, carries=()))
    with pytest.raises(IllegalPlan, match="carries-cover"):
        api.compile(TEXT)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_plan_of_an_example(path, accept):
    from rnndsl.tools.dump import dump

    found = dump(compiler.compiled(api.read_source(path)), "plan")
    golden = GOLDEN / f"{path.stem}.txt"
    if accept:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, encoding="utf-8", newline="\n")
    assert golden.exists(), f"run pytest {__file__} --accept to write it"
    assert found == golden.read_text(encoding="utf-8")


def test_no_golden_plan_without_an_example():
    assert {p.stem for p in GOLDEN.glob("*.txt")} == {p.stem for p in EXAMPLES}


def test_merged_products_are_one_matrix():
    plan = plan_of(TEXT)
    _, _, gemm = gemm_at(plan)
    assert [str(p.args[0].name) for p in gemm.products] == ["W", "V"]  # type: ignore[union-attr]
    assert isinstance(gemm.products[0], Apply) and str(gemm.matrix.type) == "[2*H, D]"


def test_what_nobody_reads_where_there_is_no_state():
    plan = plan_of("cell C(D):\n  input x: [D]\n  a = 2 * x\n  b = 3 * a\n  output y = x\n")
    assert not plan.scans and not plan.carries


def test_what_reads_states_but_knows_no_time_is_no_stream():
    text = "cell C(D, K):\n  input x: [D]\n  state S: [K, D]\n  param g, k: [K]\n  S[t] = 0.9 * S[t-1] + outer(k, x)\n  output y = tanh(g) @ S[t]\n"
    (recurrence,) = rules.recurrences(plan_of(text))
    assert recurrence.exit.streams == () and [s.type.axes for s in recurrence.exit.statics] == [(Dim.of("K"),)]
