"""Values that are the same along an axis: every function that looks along one, of each way to make them, on every backend."""

import pytest

from tests.agreement import Case, assert_agrees

OPERANDS = {
    "ones": "ones(H)",
    "a number": "0.5 * ones(H)",
    "a function of a number": "sigmoid(0.3 * ones(H))",
    "a scalar input": "s * ones(H)",
    "a scalar param": "g * ones(H)",
    "a sum of a state": "sum(h[t-1]) * ones(H)",
    "a sum of an input": "tanh(sum(x)) * ones(H)",
    "a sum of params": "(sum(b) + 0.3) * ones(H)",
}

# What is made of a vector U, [H] each; R and S are [H, H].
PRODUCTS = """
R @ U
U @ R
R.T @ U
R @ S @ U
diag(U) @ R @ h[t-1]
R @ diag(U) @ h[t-1]
R @ (U * h[t-1])
outer(U, h[t-1]) @ x
outer(h[t-1], U) @ x
outer(U, U) @ h[t-1]
outer(U, U) @ U
R @ outer(U, h[t-1]) @ x
(R * 0.5 + outer(U, U)) @ U
eye(H) @ U
(eye(H) + R) @ U
(U @ U) * x
(U @ h[t-1]) * x
(h[t-1] @ R @ U) * x
dot(U, h[t-1]) * x
dot(U, U) * x
p + q + r : p, q, r = split(U @ T, 3)
p - q : p, q = split(Q @ U, 2)
""".strip().split("\n")
ALONG = """
softmax(U)
softmax(U * h[t-1])
cumsum(U)
cumsum(cumsum(U) * h[t-1])
layernorm(U * x)
layernorm(U) + h[t-1]
rmsnorm(U)
normalize(U)
sum(U) * h[t-1]
mean(U) * h[t-1]
norm(U) * h[t-1]
p + q * h[t-1] : p, q = split(concat(U, h[t-1]), 2)
p + q * h[t-1] : p, q = split(concat(h[t-1], U), 2)
p + q * h[t-1] : p, q = split(concat(U, U), 2)
merge(heads(U, 1) * g)
merge(heads(R @ U, 1))
reshape(U, H) + reshape(h[t-1], H)
reshape(reshape(U, 1, H) @ R, H)
reshape(reshape(U, H, 1) @ ones(1), H)
re(C @ (U * 1j)) + re(U @ C)
norm(C @ U) * U
max(U, h[t-1]) + where(U > h[t-1], U, x)
""".strip().split("\n")


def program(functions: list[str], operand: str) -> str:
    """A cell whose step, and whose outputs, have them all."""
    lines = []
    for i, form in enumerate(functions):
        value, _, parts = form.partition(" : ")
        if parts:
            names = [f"{n.strip()}{i}" for n in parts.split("=")[0].split(",")]
            made = parts.split("= ")[1].replace("U", "u")
            lines.append(f"{', '.join(names)} = {made}")
            for n in names:
                value = value.replace(n[0], n)
        else:
            value = value.replace("U", "u")
        lines.append(f"v{i} = {value}")
    total = " + ".join(f"v{i}" for i in range(len(functions)))
    outputs = ", ".join(f"y{i} = v{i}" for i in range(len(functions)))
    body = "\n  ".join([f"u = {operand}", *lines, f"h[t] = tanh(0.5 * h[t-1] + 0.1 * ({total}) + x + 0.01 * (s + g))", f"output h, {outputs}"])
    return f"""cell Uniform(H):
  input x: [H]
  input s: []
  state h: [H]
  param R, S: [H, H]
  param T: [H, 3*H]
  param Q: [2*H, H]
  param C: complex [H, H]
  param b: [H]
  param g: []
  {body}
"""


@pytest.mark.one_in(2)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("functions", [PRODUCTS, ALONG], ids=["products", "along"])
@pytest.mark.parametrize("operand", OPERANDS)
def test_agrees_with_the_oracle(operand, functions, backend):
    assert_agrees(Case(program(functions, OPERANDS[operand]), "Uniform", {"H": 3}, 2, 3, backend=backend), 1e-8)
