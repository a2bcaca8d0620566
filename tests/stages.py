"""Cells whose values cross the stages of a plan: bound again in a `repeat`, read between components, by constants, by outputs alone."""

HEADER = "cell C(D, H, N, K, L, rate = 0.3):\n"
SIZES = {"D": 3, "H": 5, "N": 2, "K": 4, "L": 3}
_X = "  input x: [H]\n"
_Q = "  input x: [H]\n  state h: [H]\n  param q: [L; H]\n  param P: [L; H, H]\n  param b: [H]\n"

REPEATS: dict[str, str] = {
    "bound again without its past": _X + """
  state h: [H]
  param P: [3; H]
  v = h[t-1]
  repeat k in 1..3:
    v = P[k]
  end
  h[t] = 0.5 * h[t-1] + x
  output y = 2 * v
""",
    "read by no state": _X + """
  state h: [H]
  param P: [2; H]
  v = x
  repeat k in 1..2:
    v = tanh(P[k] * v)
  end
  h[t] = 0.5 * h[t-1] + x
  output h, y = v
""",
    "read by nothing": _X + """
  state h: [H]
  param P: [2; H]
  v = x
  repeat k in 1..2:
    v = tanh(P[k] * v)
  end
  h[t] = 0.5 * h[t-1] + x
  output h
""",
    "rounds that are alike": _Q + """
  v = h[t-1]
  repeat k in 1..3:
    v = tanh(h[t-1] + b)
  end
  h[t] = 0.5 * v + x
  output h
""",
    "rounds that are alike, of a product": _Q + """
  v = h[t-1]
  repeat k in 1..L:
    v = P[1] @ tanh(x + h[t-1]) + b
  end
  h[t] = 0.3 * v
  output h, y = v
""",
    "one round": _Q + """
  v = h[t-1]
  repeat k in 1..1:
    v = tanh(q[k] * v)
  end
  h[t] = 0.5 * v + x
  output h, y = v
""",
    "perhaps no round": _Q + """
  v = h[t-1]
  repeat k in 2..L:
    v = tanh(q[k] * v) + x
  end
  h[t] = 0.3 * v + x
  output h, y = v
""",
    "bound twice in a round": _Q + """
  v = h[t-1]
  repeat k in 1..L:
    v = P[k] @ v
    w = v
    v = tanh(v) + w * k
  end
  h[t] = 0.5 * v + x
  output h, y = v * w
""",
    "what no round changes in a product": _Q + """
  v = h[t-1]
  repeat k in 1..L:
    v = 0.5 * v + P[k] @ tanh(x + h[t-1])
  end
  h[t] = v
  output h
""",
    "one that changes beside one that does not": _Q + """
  v = h[t-1]
  w = x
  repeat k in 1..L:
    v = tanh(h[t-1] + b)
    w = w * 0.4 + v
  end
  h[t] = 0.3 * v + w
  output h
""",
    "read before it is bound again": _Q + """
  v = h[t-1]
  w = x
  repeat k in 1..L:
    w = w * 0.4 + v
    v = tanh(h[t-1] + b)
  end
  h[t] = 0.3 * v + w
  output h, y = w
""",
    "swap": _Q + """
  v = h[t-1]
  w = x
  repeat k in 1..L:
    u = v
    v = w
    w = tanh(u) * q[k]
  end
  h[t] = 0.3 * v + w
  output h, y = w - v, z = u
""",
    "bound inside alone": _Q + """
  repeat k in 1..L:
    g = sigmoid(q[k] * h[t-1])
    u = g * k
  end
  h[t] = 0.3 * u + x * g
  output h, y = g * u
""",
    "counter in arithmetic": _Q + """
  v = h[t-1]
  repeat k in 1..L:
    v = where(k == 1, v + x, tanh(v)) * (k + 1) / (k * k + 0.5) + k
  end
  h[t] = 0.3 * v
  output h, y = v
""",
    "of params": _Q + """
  v = b
  repeat k in 1..L:
    v = tanh(P[k] @ v)
  end
  h[t] = 0.3 * h[t-1] + x * v
  output h, y = v
""",
    "from a number": _Q + """
  v = 0
  repeat k in 1..L:
    v = v + q[k]
  end
  h[t] = 0.3 * h[t-1] + x * v
  output h, y = v
""",
    "of inputs": _Q + """
  v = x
  repeat k in 1..L:
    v = tanh(P[k] @ v) + x
  end
  h[t] = 0.3 * h[t-1] + v
  output h, y = v
""",
    "of new states": _Q + """
  h[t] = 0.3 * h[t-1] + x
  v = h[t]
  repeat k in 1..L:
    v = tanh(P[k] @ v) + x
  end
  output h, y = v
""",
    "of old states, for an output": _Q + """
  h[t] = 0.3 * h[t-1] + x
  v = h[t-1]
  repeat k in 1..L:
    v = tanh(q[k] * v) + x
  end
  output h, y = v
""",
    "two, one after the other": _Q + """
  v = h[t-1]
  repeat k in 1..L:
    v = tanh(P[k] @ v) + x
  end
  w = v
  repeat k in 1..2:
    v = v * k * 0.3 + q[k]
  end
  h[t] = 0.3 * v
  output h, y = v * w
""",
    "every binding read": _Q + """
  v = h[t-1]
  u = v + x
  repeat k in 1..3:
    v = q[k]
  end
  w = v * 2
  repeat k in 1..2:
    v = v + x * k
  end
  h[t] = 0.3 * u + w
  output h, y = v, z = w, a = u
""",
    "read in another component": _X + """
  state h, g: [H]
  param q: [L; H]
  v = h[t-1]
  repeat k in 1..L:
    v = tanh(q[k] * v) + x
  end
  h[t] = 0.3 * v
  g[t] = 0.5 * g[t-1] + v
  output h, g, y = v
""",
    "split": _X + """
  state h: [H]
  param Q: [L; 2*H, H]
  a = h[t-1]
  repeat k in 1..L:
    a, c = split(Q[k] @ a + concat(x, x), 2)
    a = tanh(a) * sigmoid(c)
  end
  h[t] = 0.3 * a + c
  output h, y = a, z = c
""",
    "complex": _X + """
  state h: complex [H]
  param q: complex [L; H]
  v = h[t-1]
  repeat k in 1..L:
    v = 0.5 * q[k] * v + x
  end
  h[t] = 0.3 * v
  output y = re(h[t]), z = im(v)
""",
    "heads": """
  input x: [D]
  state h: [N; K]
  param W: [N; K, D]
  param q: [L; K]
  param Q: [L, N; K, K]
  v = h[t-1]
  repeat k in 1..L:
    v = tanh(Q[k] @ v + q[k]) + W @ x
  end
  h[t] = 0.3 * v
  output y = merge(h[t]), z = merge(v)
""",
    "matrix state": """
  input x: [K]
  state S: [K, K]
  param Q: [L; K, K]
  v = S[t-1]
  repeat k in 1..L:
    v = tanh(Q[k] @ v) + outer(x, x) * k
  end
  S[t] = 0.3 * v
  output y = S[t] @ x, z = v @ x
""",
    "scalars": """
  input x: []
  state s: []
  param q: [L;]
  v = s[t-1]
  repeat k in 1..L:
    v = tanh(q[k] * v + x)
  end
  s[t] = 0.3 * v
  output s, y = v
""",
}  # fmt: skip

BETWEEN: dict[str, str] = {
    "states of constants": """
  input x: []
  state h, g, k: []
  h[t] = 0.5 * h[t-1]^2 + 0.1 * x
  g[t] = 0.5
  k[t] = 1
  output y = rate + k[t] + g[t] + h[t-1]
""",
    "states of constants alone": """
  input x: [H]
  state g, k: [H]
  param b: [H]
  g[t] = 0.5
  k[t] = b
  output y = g[t] * k[t-1] + x, z = rate * g[t-1]
""",
    "an output of two components": _X + """
  state h, g: [H]
  h[t] = 0.5 * h[t-1] + x
  g[t] = 0.5 * g[t-1] + x
  output y = h[t] / (1 + g[t-1]^2)
""",
    "an output of two components and an input": _X + """
  state h, g: [H]
  h[t] = 0.5 * h[t-1] + x
  g[t] = tanh(g[t-1] + h[t])
  output y = h[t] * (x * g[t-1]), z = h[t-1] * tanh(x + g[t])
""",
    "a local between components, read by an output": _X + """
  state q, i: [H]
  q[t] = 0.5 * q[t-1] + x
  z = tanh(q[t-1])
  i[t] = 0.5 * i[t-1] + sigmoid(z)
  output y = z * x
""",
    "a local between components, read by a recurrence alone": _X + """
  state q, i: [H]
  q[t] = 0.5 * q[t-1] + x
  z = tanh(q[t-1])
  i[t] = 0.5 * i[t-1] + sigmoid(z)
  output y = 1, w = x
""",
    "a chain of locals between components": _X + """
  state a, b, c: [H]
  a[t] = 0.5 * a[t-1] + x
  u = tanh(a[t]) * x
  w = u * a[t-1] + rate
  b[t] = tanh(b[t-1] + w)
  v = w * b[t] - u
  c[t] = 0.9 * c[t-1] + v * w
  output c, y = u * v, z = w + c[t-1] * a[t]
""",
    "locals of a later component's past": _X + """
  state a, b: [H]
  p = tanh(b[t-1])
  a[t] = 0.5 * a[t-1] + x
  r = p * a[t-1]
  b[t] = 0.5 * b[t-1] + r
  output y = p * a[t] + r
""",
    "lags across components": _X + """
  state a, b: [H]
  a[t] = 0.5 * a[t-1] + x[t-1]
  b[t] = tanh(b[t-1] * a[t-2] + b[t-3])
  output y = a[t-1] * b[t-2] - a[t-3] / (2 + x[t-2] * x[t-2])
""",
    "a state without a past between two": _X + """
  state a, m, b: [H]
  a[t] = 0.5 * a[t-1] + x
  m[t] = tanh(a[t-1]) * rate
  b[t] = 0.5 * b[t-1] + m[t-1] * m[t]
  output y = m[t-1] + b[t] * m[t], z = m[t] / (1 + a[t]^2)
""",
    "products of outputs": _X + """
  state a, b: [H]
  param R, S: [H, H]
  a[t] = tanh(R @ a[t-1] + x)
  b[t] = 0.5 * b[t-1] + S @ a[t-1]
  output y = R @ b[t] + S @ b[t], z = S @ a[t-1] + R @ a[t-1]
""",
    "params alone": _X + """
  state a: [H]
  param b: [H]
  c = exp(b) * 2
  a[t] = c * 0.1
  output y = a[t] + a[t-1] * c, z = c, w = rate
""",
}  # fmt: skip


def program(name: str) -> str:
    """The whole text of a cell."""
    return HEADER + {**REPEATS, **BETWEEN}[name].lstrip("\n")
