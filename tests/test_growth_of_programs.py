"""Programs below 5 kB that grow: each command gives a right answer or a clear diagnostic, in little time and memory.

Time is CPU time that the system allows a process, several times what is needed; a machine that is slow or busy changes no outcome.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rnndsl import api, compiler
from rnndsl.diagnostics import RnnError, Source
from rnndsl.runtime.build import BuildFailed
from rnndsl.runtime.cpu import loaded
from tests.hostile_programs import FAMILIES, LIMIT, largest

ROOT = Path(__file__).resolve().parent.parent
SECONDS, BYTES = 60, 1 << 30
RUN = """
import json, resource, sys
from rnndsl import api
from rnndsl.diagnostics import RnnError
from rnndsl.tools.lsp.document import Document
from rnndsl.tools.lsp.hover import hover

def codes(function):
    try:
        function()
        return []
    except RnnError as e:
        assert str(e) and all(d.title and d.label for d in e.diagnostics)
        return [d.code for d in e.diagnostics]

def shown(text):
    found = api.explain(text)
    for page in (found.text, found.latex, json.dumps(found.data), found._repr_html_()):
        assert page and len(page) < 4_000_000

def answers(text):
    said = {"check": [d.code for d in api.check(text) if d.severity == "error"]}
    said["fmt"] = codes(lambda: api.format(text))
    said["compile"] = said["check"] or codes(lambda: compile(api.compile(text), "module", "exec"))
    said["explain"] = codes(lambda: shown(text))
    document = Document("a.rnn", text)
    at = text.index("[t]") - 1 if "[t]" in text else text.index("cell") + 5
    said["hover"] = (hover(document, at) or hover(document, text.index("cell") + 5)).text[:40] if not said["check"] else "none"
    return said

print(json.dumps([answers(text) for text in json.load(sys.stdin)]))
"""


def outcomes(texts: list[str]) -> list[dict]:
    """What each command says of programs, in a process that may use 60 seconds and 1 GB."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))

    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, input=json.dumps(texts), env=env, capture_output=True, text=True, timeout=1200, check=False, preexec_fn=limited)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def sizes(name: str) -> list[str]:
    """Programs of a family: the largest that fits, and ones that are small enough to be right."""
    family = FAMILIES[name]
    texts = [largest(family), *(family(n) for n in (40, 12) if len(family(n)) < LIMIT)]
    right = [t for t in texts if not any(d.severity == "error" for d in api.check(t))]
    return list(dict.fromkeys([texts[0], *right[:1]]))


SOME = ["squares and tanh", "products", "affine chain", "of params", "states, all of all", "repeat, products", "doubling", "integer powers",
        "states, lag 64", "max chain", "many repeats", "huge powers", "powers of ten", "exps of numbers"]  # fmt: skip


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", SOME)
def test_a_small_program_is_answered_or_refused(name):
    for said in outcomes(sizes(name)):
        if said["check"]:
            assert said["compile"] == said["explain"] == said["check"], said
        else:
            assert said["compile"] in ([], ["too-large"]) and said["explain"] in ([], ["too-large"]), said


REAL = [
    "squares and tanh", "products", "cubes", "quotients", "two back", "sums", "differences", "affine chain", "max chain", "logaddexp chain", "where chain",
    "sigmoids", "mods", "of params",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_a_chain_of_locals_has_an_answer(name):
    found = api.explain(FAMILIES[name](17)).cells[0]
    (c,) = found.data["components"]
    assert c["jacobian"]["entries"] and "too_large" not in c["jacobian"] and "too large" not in found.text + found.latex


def refused(family: str) -> list[str]:
    """Why the recurrences of a family's largest program have no kernel, of each backend."""
    text = largest(FAMILIES[family])
    namespace: dict = {}
    exec(compile(api.compile(text), "module", "exec"), namespace)
    cls = namespace["A"]
    return [why for kernels in cls._kernels.values() for why in kernels.refused.values()]


@pytest.mark.parametrize(("family", "backends"), [("states, lag 64", 3), ("many repeats", 0)])
def test_a_step_that_is_too_large_for_a_kernel_is_refused_by_name(family, backends):
    found = refused(family)
    assert len(found) == backends and all(why.startswith("too large for a kernel: ") and "at most" in why for why in found)


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_what_is_too_deep_for_python_is_a_diagnostic(error):
    with pytest.raises(RnnError) as e, compiler.deep_trees(Source("a.rnn", "cell A(H):\n")):
        raise error
    (found,) = e.value.diagnostics
    assert found.code == "too-large" and found.hints and found.span.end == len("cell A(H):")


def test_a_library_without_its_functions_is_a_failed_build():
    with pytest.raises(BuildFailed, match="lacks `K_forward`"):
        loaded.function_of(ctypes.CDLL(None), "K_forward")
