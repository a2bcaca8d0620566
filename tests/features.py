"""Small cells, each for a few forms of the language; every one is compared with the oracle."""

HEADER = "cell C(D, H, N, K, L, dt = 0.3):\n"
SIZES = {"D": 3, "H": 5, "N": 2, "K": 4, "L": 3}

FEATURES: dict[str, str] = {
    "lags of a state": """
  input x: [D]
  state h: [H] = h0
  param W: [H, D]
  param a, b, h0: [H]
  h[t] = tanh(W @ x + a * h[t-1] + b * h[t-3])
  output h, old = h[t-2]
""",
    "lags of an input": """
  input x: [D]
  input m: []
  state h: [D]
  param a: [D]
  h[t] = tanh(x[t-1] - a * x[t-2] * h[t-1] + m[t-1] * x[t])
  output h, late = x[t-2]
""",
    "lag read entry by entry in a later component": """
  input x: [H]
  state h, g: [H]
  param a, b: [H]
  h[t] = tanh(a * h[t-1] + x)
  g[t] = tanh(b * g[t-1] + sigmoid(h[t-1]))
  output g
""",
    "lag read in a later component": """
  input x: [H]
  state h, g: [H]
  param a, b: [H]
  h[t] = tanh(a * h[t-1] + x)
  g[t] = tanh(b * g[t-1] + h[t-1] - h[t-3])
  output y = g[t] * h[t-2]
""",
    "parts of products that are read whole as well": """
  input x: [D]
  state h: [H]
  param W, V: [2*H, D]
  param Q, R: [2*H, H]
  p, q = split(normalize(W @ x + Q @ h[t-1] + (V @ x) * R @ h[t-1]), 2)
  h[t] = p + tanh(q) * x[t-1] @ x
  output h
""",
    "parts of heads in another shape": """
  input x: [D]
  state h: [N; K]
  param W: [N; 3*K, D]
  a, b, c = split(W @ x, 3)
  h[t] = tanh(a + sum(heads(merge(b), N)) * h[t-1])
  output y = merge(c) + merge(h[t])
""",
    "a state without a past": """
  input x: [D]
  state h: [H]
  param W: [H, D]
  h[t] = tanh(W @ x)
  output y = h[t] - h[t-1]
""",
    "states without a past, last first": """
  input x: [D]
  state a, b, c: [H]
  param W, V: [H, D]
  u = tanh(V @ x)
  c[t] = a[t-1] * u + b[t-1]
  a[t] = tanh(b[t-1] + W @ x)
  b[t] = tanh(W @ x) * u
  output c, y = c[t] - a[t] * b[t-1]
""",
    "step number": """
  input x: [H]
  state h: [H]
  param a: [H]
  h[t] = tanh(a * h[t-1] + sin(0.3 * t) * x)
  output h, n = t / (1 + t)
""",
    "step number alone": """
  input x: [H]
  output y = x * t
""",
    "no state": """
  input x: [D]
  param W: [H, D]
  output y = relu(W @ x)
""",
    "chain of components": """
  input x: [H]
  state a, b, c: [H]
  param p: [H]
  c[t] = tanh(c[t-1] * p + x)
  a[t] = tanh(a[t-1] + c[t])
  b[t] = 0.5 * b[t-1] + a[t-1] * c[t-1]
  output b, a
""",
    "scalar broadcast to a state": """
  input x: [D]
  input s: []
  state h: [H]
  state g: [N; K]
  state q: [N; K]
  state u: []
  param w: [D]
  param v: [K]
  u[t] = tanh(u[t-1] + dot(w, x))
  h[t] = s
  g[t] = u[t] + 0.5 * g[t-1]
  q[t] = v
  output h, g, q, u
""",
    "heads": """
  input x: [N*K]
  state g: [N; K]
  state s: [N;]
  param R: [N; K, K]
  param w: [N; K]
  param e: [N;]
  param P: [K, K]
  v = heads(x, N)
  g[t] = tanh(R @ g[t-1] + P @ v + e * v)
  s[t] = sigmoid(dot(w, g[t]) + s[t-1])
  output y = merge(g[t] * s[t]), z = merge(s[t])
""",
    "heads of scalars": """
  input x: [N]
  state g: [N; K]
  param w: [N; K]
  g[t] = tanh(heads(x, N) * w + 0.3 * g[t-1])
  output y = merge(g[t])
""",
    "two head axes": """
  input x: [D]
  state g: [N, L; K]
  param W: [N, L; K, D]
  param a: [N, L;]
  g[t] = tanh(W @ x + a * g[t-1])
  output y = merge(g[t])
""",
    "matrix state": """
  input x: [D]
  state S: [K, H]
  param A: [K, K]
  param B: [H, H]
  param U: [K, D]
  param V: [H, D]
  S[t] = tanh(0.5 * A @ S[t-1] @ B + outer(U @ x, V @ x)) * 0.9
  output y = S[t] @ (V @ x), z = (U @ x) @ S[t], w = S[t].T @ (U @ x)
""",
    "products": """
  input x: [D]
  state h: [H]
  param U: [H, K]
  param V: [K, H]
  param r, q: [H]
  param W: [H, D]
  h[t] = tanh(r * U @ V @ h[t-1] + W @ x) + 0.1 * (q @ h[t-1])
  output y = h[t] @ U, z = h[t] @ h[t], s = q @ h[t], o = V @ U @ V @ h[t]
""",
    "precedence": """
  input x: [H]
  state h: [H]
  param a: [H]
  h[t] = -x^2 * a + 2^-x / 4 - (x - 1 - a) * 0.1 + a * 3 / 4 * 0.2 - -x
  output h, y = 1 - (2 - x) - (a - (x + a)), z = x / (a^2 + 2) / 3 * 2^2^0.5, w = -(x + a)^2 * -1
""",
    "functions one": """
  input x: [H]
  output a = tanh(x) + sigmoid(x) * exp(-x), b = log(abs(x) + 1) + sqrt(x * x + 1), c = relu(x) + sign(x) + floor(3 * x)
  output d = softplus(x) + logsigmoid(x) + softplus(30 * x), e = silu(x) - gelu(x) + elu(x), f = sin(x) * cos(x), g = heaviside(x), h = re(x) + im(x) + conj(x)
""",
    "functions two": """
  input x, y: [H]
  output a = max(x, y), b = min(x, 0.1), c = logaddexp(x, y), d = mod(x, 0.7), e = where(x > y, x, 2 * y), f = where(x, 1, 0)
  output g = x^3 + abs(x)^y, h = mod(7, 3) + max(1, 2), i = (x < y) + (x <= y) + (x > 0) + (x >= 0) + (x == x) + (x != y)
""",
    "along a vector": """
  input x, y: [H]
  state h: [H]
  h[t] = softmax(x + 0.1 * h[t-1])
  output a = cumsum(x), b = normalize(x), c = layernorm(x), d = rmsnorm(x), e = sum(x) * mean(y), f = norm(x), g = dot(x, y), h
""",
    "norms of the state": """
  input x: [H]
  state h: [H]
  param a: [H]
  h[t] = layernorm(h[t-1] + x) * a + normalize(h[t-1]) * norm(h[t-1])
  output h
""",
    "shapes": """
  input x: [H]
  input v: [K]
  param A: [H, K]
  c = concat(x, v, x)
  p, q = split(concat(v, v * 2), 2)
  output c, y = p + q * 3, m = outer(x, v) @ v, d = diag(x) @ A @ v, r = reshape(outer(v, x), K*H)
  output s = sum(reshape(concat(v, v), 2, K) @ v), i = eye(H) @ x + ones(H)
""",
    "params alone": """
  input x: [H]
  state h: [H]
  param A: [H, H]
  param g: [H]
  M = expm(A - A.T)
  s = exp(-exp(g))
  h[t] = M @ h[t-1] * s + x
  output h
""",
    "consts": """
  input x: [H]
  state h: [H]
  const q: [H] = p * 2 + r
  const p: [H] = 1 / sqrt(H)
  const M: [H, H] = expm(-0.1 * eye(H))
  const r: [H] = cumsum(ones(H)) / 10
  h[t] = tanh(M @ h[t-1] * p + q * x)
  output h
""",
    "constraints": """
  input x: [H]
  state h: [H]
  param b: [H] in (0, 1)
  param g: [H] > 0
  param c: [H] in (-2, dt) ~ constant(0.1)
  param e: [H] > -dt ~ uniform(1, 2)
  h[t] = b * h[t-1] + (1 - b) * tanh(g * x + c) * e
  output h
""",
    "complex consts": """
  input x: [H]
  state h: complex [H] = z
  const z: complex [H] = 0.3 + 0.2j
  const w: complex [H, H]
  h[t] = z * h[t-1] + w @ x + x
  output y = im(h[t])
""",
    "noise by its mean": """
  input x: [H]
  state h: [H]
  param a: [H] in (0, 1)
  noise m: [H] ~ bernoulli(1 - a)
  noise n: [H] ~ normal(a, 1)
  noise u: [] ~ uniform(-1, 3)
  h[t] = m * h[t-1] + (1 - m) * tanh(x + n) * u
  output h
""",
    "minus infinity": """
  input x, f: [H]
  state l, m, n: [H] = -inf
  state c: [H]
  l[t] = logaddexp(logsigmoid(f) + l[t-1], x)
  m[t] = max(f + m[t-1], x)
  n[t] = logaddexp(n[t-1], -inf * heaviside(x - 10) - 1)
  c[t] = exp(m[t-1] + f - m[t]) * c[t-1] + exp(x - m[t])
  output l, c
""",
    "repeat": """
  input x: [D]
  state s: [H]
  param W: [H, D]
  param R: [L; H, H]
  param b: [L; H]
  v = s[t-1]
  repeat k in 1..L:
    g = tanh(R[k] @ v + b[k] + where(k == 1, W @ x, 0) / k)
    v = 0.5 * v + g
  end
  s[t] = v
  output s, last = g
""",
    "slices behind and against the rounds": """
  input x: [D]
  state s: [H]
  param W: [H, D]
  param P, R: [L + 1; H, H]
  param b, c: [L + 1; H]
  v = s[t-1] + W @ x
  repeat k in 1..L:
    v = tanh(P[k + 1] @ v + R[L + 1 - k] @ (v * b[k + 1])) + c[k + 1]
  end
  s[t] = v
  output s
""",
    "rounds that read what needs no gradient": """
  input x: [H]
  state h, g: [H]
  v = h[t-1]
  w = g[t-1]
  repeat k in 1..L:
    v = 0.5 * v * sin(H)
    w = 0.5 * w * (g[t-1] > 0.1)
  end
  h[t] = tanh(v + x)
  g[t] = tanh(w + x)
  output h, g
""",
    "repeat that replaces a state": """
  input x: [K]
  state s: [N; K]
  param p: [L, N; K]
  v = s[t-1]
  repeat k in 2..L:
    v = p[1]
  end
  s[t] = tanh(v) + 0.5 * s[t-1] * x
  output s
""",
    "repeat whose matrices all heads and columns share": """
  input x: [D]
  state S: [N; K, H]
  param W: [L, N; K, D]
  param U: [L; H, D]
  M = 0.5 * S[t-1]
  repeat k in 1..L:
    M = tanh(M + outer(W[k] @ x, U[k] @ x))
  end
  S[t] = M
  output y = merge((W[1] @ x) @ S[t])
""",
    "repeat from a scalar": """
  input x: [H]
  state h: [H]
  param a: [H]
  acc = 0
  repeat k in 1..3:
    acc = acc * 0.5 + sin(k * x) + a
  end
  u = acc
  h[t] = tanh(u + h[t-1])
  output h
""",
    "repeat of params alone": """
  input x: [H]
  param a: [L; H]
  acc = 0
  repeat k in 1..L:
    acc = acc * 0.5 + a[k]
  end
  s = acc * 2
  u = s - acc
  output y = u * x + acc
""",
    "slices by number": """
  input x: [H]
  param R: [3; H, H]
  param P: [2, 2; H]
  output y = R[1] @ x + R[3] @ x, z = merge(P[2] * x)
""",
    "powers and comparisons of a counter": """
  input x: [H]
  state h: [H]
  param R: [H, H]
  v = h[t-1]
  repeat k in 1..3:
    v = tanh(0.5 ^ k * v + (R @ v) * (k > 1) * (v > 0) + x ^ k + k ^ 2 * 0.1)
  end
  h[t] = v
  output h
""",
    "functions inside a repeat": """
  input x: [D]
  state w: [H]
  param V: [H, D]
  param B: [H, H]
  param A: [H, H]
  v = w[t-1]
  q = dt
  repeat k in 1..L:
    v = tanh(v + mix2(sigmoid(V @ x), V @ x) * (q > 0.2)) + (tanh(A) * (diag(x @ x * v) @ B)) @ v * (q != 3)
  end
  w[t] = v
  output w
""",
    "surrogate": """
  input x: [H]
  state u: [H]
  param b: [H]
  s = spike(u[t-1] + b - 0.1)
  u[t] = 0.9 * u[t-1] + x - s * b
  output o = spike(u[t]), p = spike(2 * x)
""",
    "functions outside of the equations": """
  input x: [H]
  state h: [H] = spike(3 * p) + swish(p + 0.3)
  const c: [H] = twice(q / 2)
  const q: [H] = swish(0.3 + 0.1)
  param p: [H]
  param e: [H] > swish(0.1 + 0.1) ~ constant(twice(1 + 1))
  noise m: [H] ~ normal(swish(2 * p), 1)
  h[t] = 0.5 * h[t-1] + m * c * x - e
  output h
""",
    "functions of functions": """
  input x: [H]
  state h: [H]
  param a: [H]
  h[t] = mix(twice(x + a), h[t-1], 0.3) * twice(0.5)
  output h
""",
    "complex": """
  input x: [D]
  input z: complex [H]
  state h: complex [H]
  state r: [H]
  param nu, th: [H]
  param B: complex [H, D]
  param C: complex [D, H]
  param A: [H, H]
  lam = exp(-exp(nu) + 1j * exp(th))
  h[t] = lam * h[t-1] + B @ x + 0.2j * z + A @ conj(z) * 0.1
  r[t] = tanh(r[t-1] + re(h[t]) * im(h[t]) + abs(h[t]) * 0.1)
  output y = re(C @ h[t]), h, n = norm(h[t]), d = dot(h[t], h[t]), q = normalize(h[t]), r, w = h[t] / (z + 3)
""",
    "choices of complex values": """
  input x: [H]
  state h: complex [H]
  h[t] = where(x > 0.3, 0.3j * h[t-1] + x, x)
  output y = abs(h[t]), z = where(h[t] == 0, 1j, x), w = where(x < 0, 0.5, h[t])
""",
    "complex by real": """
  input x: [H]
  state h: complex [H] = 1j
  param a: [H]
  h[t] = (0.5 + 0.3j) * h[t-1] + a * x
  output y = re(h[t]) + im(h[t]), e = re(exp(1j * pi * x)), f = abs(tanh(h[t]) + sigmoid(h[t]))
""",
    "names of others": """
  input torch: [H]
  state self, lambda: [H]
  param beta, gamma, S, I, E, Q, tl, params: [H]
  lead = torch * beta + S
  self[t] = tanh(gamma * self[t-1] + lead * E)
  kind = I * Q
  lambda[t] = tanh(lambda[t-1] + kind * params + tl)
  output scan = self[t], lambda
""",
    "dense and diagonal together": """
  input x: [D]
  state h, c, n: [H]
  param W: [4*H, D]
  param R: [4*H, H]
  param p: [H]
  i, f, z, o = split(W @ x + R @ h[t-1], 4)
  c[t] = sigmoid(f + p * c[t-1]) * c[t-1] + sigmoid(i) * tanh(z)
  h[t] = sigmoid(o) * tanh(c[t])
  n[t] = 0.9 * n[t-1] + h[t]
  output h, n
""",
    "sums regrouped": """
  input x, y: [H]
  state h: [H]
  param a, b: [H]
  h[t] = tanh(a * h[t-1] - x + b - (y - h[t-1] * b - a) + 1 - 2 * dt)
  output h
""",
    "outputs of params": """
  input x: [D]
  param b: [H]
  output y = b, z = 1, w = dt * H, x
""",
}

DEFS = """def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
def twice(z) = z + swish(z)
def swish(z) = z * sigmoid(z)
def mix2(g, a) = g * a + (1 - g) * a
def mix(a, b, g) = g * a + (1 - g) * b
"""


def program(name: str) -> str:
    """The text of a feature's program; its cell is `C`."""
    return DEFS + HEADER + FEATURES[name].lstrip("\n")
