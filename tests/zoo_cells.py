"""Published recurrent cells, and what a mathematician would say of each: its components in solve order.

A component is written `states: family structure slots`, with `, invariant` where an affine one multiplies its state by the same
values at every step. Conventions:

* diagonal: one old value a channel, everything elementwise. block k: k old values coupled in each channel, `h[t-2]` counting as
  one, and a complex state whose real and imaginary parts are read apart as two. head: products stay inside a head. left, right: a
  matrix state multiplied from one side only. dense: the rest. A matrix state that decays by entries, rows, columns or heads and gets
  an outer product added is diagonal: `diag(a) @ S` scales.
* A state that reads no own past is a component of its own, affine and diagonal.
* A family is that of the equations in the old states, everything else given: max-plus is built of max and +, log-semiring of
  logaddexp and +; relu(a + m) is max(a + m, 0), softplus(a + l) is logaddexp(a + l, 0). `min` is nonlinear: a min-plus
  recurrence has an exact scan in the negated state, which is for the program to write. So is anything that leaves its semiring.
* slots are counted for the whole component, also where it is dense.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One cell, its components as text, and the boxes that its states are proven to stay in."""

    text: str
    components: tuple[str, ...]
    boxes: dict[str, tuple[float, float]]


ZOO: dict[str, Published] = {}


def _cell(text: str, *components: str, **boxes: tuple[float, float]) -> None:
    name = text.split("cell ")[1].split("(")[0]
    assert name not in ZOO
    ZOO[name] = Published(text.lstrip("\n"), components, boxes)


UNIT = (-1.0, 1.0)

# Dense

_cell("""
cell Elman(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param b: [H]
  h[t] = tanh(W @ x + R @ h[t-1] + b)
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell Jordan(D, H, M):
  input x: [D]
  state y: [M]
  param W: [H, D]
  param R: [H, M]
  param V: [M, H]
  y[t] = sigmoid(V @ tanh(W @ x + R @ y[t-1]))
  output y
""", "y: nonlinear dense 1", y=(0.0, 1.0))
_cell("""
cell LeakyESN(D, H, leak = 0.3):
  input x: [D]
  state h: [H]
  const W: [H, D]
  const R: [H, H]
  param V: [D, H]
  h[t] = (1 - leak) * h[t-1] + leak * tanh(W @ x + R @ h[t-1])
  output y = V @ h[t]
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell GRU(D, H):
  input x: [D]
  state h: [H]
  param W_r, W_z, W_n: [H, D]
  param R_r, R_z, R_n: [H, H]
  param b_r, b_z, b_n, c_n: [H]
  r = sigmoid(W_r @ x + R_r @ h[t-1] + b_r)
  z = sigmoid(W_z @ x + R_z @ h[t-1] + b_z)
  n = tanh(W_n @ x + b_n + r * (R_n @ h[t-1] + c_n))
  h[t] = (1 - z) * n + z * h[t-1]
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell GRUv1(D, H):
  input x: [D]
  state h: [H]
  param W_r, W_z, W_n: [H, D]
  param R_r, R_z, R_n: [H, H]
  r = sigmoid(W_r @ x + R_r @ h[t-1])
  z = sigmoid(W_z @ x + R_z @ h[t-1])
  h[t] = h[t-1] + z * (tanh(W_n @ x + R_n @ (r * h[t-1])) - h[t-1])
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell LSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W: [4*H, D]
  param R: [4*H, H]
  param b: [4*H]
  i, f, z, o = split(W @ x + R @ h[t-1] + b, 4)
  c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(z)
  h[t] = sigmoid(o) * tanh(c[t])
  output h
""", "c h: nonlinear dense 2", h=UNIT)
_cell("""
cell CIFG(D, H):
  input x: [D]
  state h, c: [H]
  param W_f, W_z, W_o: [H, D]
  param R_f, R_z, R_o: [H, H]
  f = sigmoid(W_f @ x + R_f @ h[t-1])
  c[t] = f * c[t-1] + (1 - f) * tanh(W_z @ x + R_z @ h[t-1])
  h[t] = sigmoid(W_o @ x + R_o @ h[t-1]) * tanh(c[t])
  output h
""", "c h: nonlinear dense 2", c=UNIT, h=(-0.7615941559557649, 0.7615941559557649))
_cell("""
cell PeepholeLSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W_i, W_f, W_z, W_o: [H, D]
  param R_i, R_f, R_z, R_o: [H, H]
  param p_i, p_f, p_o: [H]
  i = sigmoid(W_i @ x + R_i @ h[t-1] + p_i * c[t-1])
  f = sigmoid(W_f @ x + R_f @ h[t-1] + p_f * c[t-1])
  c[t] = f * c[t-1] + i * tanh(W_z @ x + R_z @ h[t-1])
  o = sigmoid(W_o @ x + R_o @ h[t-1] + p_o * c[t])
  h[t] = o * tanh(c[t])
  output h
""", "c h: nonlinear dense 2", h=UNIT)
_cell("""
cell LayerNormLSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W: [4*H, D]
  param R: [4*H, H]
  param g_x, g_h, b: [4*H]
  param g_c, b_c: [H]
  i, z, f, o = split(g_x * layernorm(W @ x) + g_h * layernorm(R @ h[t-1]) + b, 4)
  c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(z)
  h[t] = sigmoid(o) * tanh(g_c * layernorm(c[t]) + b_c)
  output h
""", "c h: nonlinear dense 2", h=UNIT)
_cell("""
cell MGU(D, H):
  input x: [D]
  state h: [H]
  param W_f, W_n: [H, D]
  param R_f, R_n: [H, H]
  f = sigmoid(W_f @ x + R_f @ h[t-1])
  h[t] = (1 - f) * h[t-1] + f * tanh(W_n @ x + R_n @ (f * h[t-1]))
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell UGRNN(D, H):
  input x: [D]
  state h: [H]
  param W_c, W_g: [H, D]
  param R_c, R_g: [H, H]
  g = sigmoid(W_g @ x + R_g @ h[t-1])
  h[t] = g * h[t-1] + (1 - g) * tanh(W_c @ x + R_c @ h[t-1])
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell JANET(D, H, beta = 1.0):
  input x: [D]
  state c: [H]
  param W_f, W_c: [H, D]
  param R_f, R_c: [H, H]
  s = W_f @ x + R_f @ c[t-1]
  c[t] = sigmoid(s) * c[t-1] + (1 - sigmoid(s - beta)) * tanh(W_c @ x + R_c @ c[t-1])
  output c
""", "c: nonlinear dense 1")
_cell("""
cell STAR(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_k: [H, D]
  param R: [H, H]
  z = tanh(W_z @ x)
  k = sigmoid(W_k @ x + R @ h[t-1])
  h[t] = tanh((1 - k) * h[t-1] + k * z)
  output h
""", "h: nonlinear dense 1", h=(-0.7615941559557649, 0.7615941559557649))
_cell("""
cell MinimalRNN(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param U_h, U_z: [H, H]
  z = tanh(W @ x)
  u = sigmoid(U_h @ h[t-1] + U_z @ z)
  h[t] = u * h[t-1] + (1 - u) * z
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell CFN(D, H):
  input x: [D]
  state h: [H]
  param W, V_f, V_i: [H, D]
  param U_f, U_i: [H, H]
  h[t] = sigmoid(U_f @ h[t-1] + V_f @ x) * tanh(h[t-1]) + sigmoid(U_i @ h[t-1] + V_i @ x) * tanh(W @ x)
  output h
""", "h: nonlinear dense 1", h=(-1.96117976, 1.96117976))
_cell("""
cell RAN(D, H):
  input x: [D]
  state h, c: [H]
  param W_c, W_i, W_f: [H, D]
  param R_i, R_f: [H, H]
  i = sigmoid(W_i @ x + R_i @ h[t-1])
  f = sigmoid(W_f @ x + R_f @ h[t-1])
  c[t] = i * W_c @ x + f * c[t-1]
  h[t] = tanh(c[t])
  output h
""", "c h: nonlinear dense 2", h=UNIT)
_cell("""
cell LiGRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_h: [H, D]
  param R_z, R_h: [H, H]
  z = sigmoid(W_z @ x + R_z @ h[t-1])
  h[t] = z * h[t-1] + (1 - z) * relu(W_h @ x + R_h @ h[t-1])
  output h
""", "h: nonlinear dense 1", h=(0.0, float("inf")))
_cell("""
cell ATR(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  p = W @ x
  q = R @ h[t-1]
  h[t] = sigmoid(p + q) * p + sigmoid(p - q) * h[t-1]
  output h
""", "h: nonlinear dense 1")
_cell("""
cell SCRN(D, H, M, a = 0.95):
  input x: [D]
  state s: [M]
  state h: [H]
  param B: [M, D]
  param A: [H, D]
  param P: [H, M]
  param R: [H, H]
  s[t] = (1 - a) * B @ x + a * s[t-1]
  h[t] = sigmoid(P @ s[t] + A @ x + R @ h[t-1])
  output h, s
""", "s: affine diagonal 1, invariant", "h: nonlinear dense 1", h=(0.0, 1.0))
_cell("""
cell RHN(D, H, L):
  input x: [D]
  state s: [H]
  param W_h, W_t: [H, D]
  param R_h, R_t: [L; H, H]
  v = s[t-1]
  repeat k in 1..L:
    g = sigmoid(where(k == 1, W_t @ x, 0) + R_t[k] @ v)
    v = g * tanh(where(k == 1, W_h @ x, 0) + R_h[k] @ v) + (1 - g) * v
  end
  s[t] = v
  output s
""", "s: nonlinear dense 1")
_cell("""
cell FastGRNN(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param b_z, b_h: [H]
  param zeta, nu: [] in (0, 1)
  u = W @ x + R @ h[t-1]
  z = sigmoid(u + b_z)
  h[t] = (zeta * (1 - z) + nu) * tanh(u + b_h) + z * h[t-1]
  output h
""", "h: nonlinear dense 1")
_cell("""
cell LowRankRNN(D, H, M, dt = 0.1):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param U, V: [H, M]
  h[t] = h[t-1] + dt * (U @ V.T @ tanh(h[t-1]) + W @ x - h[t-1])
  output h
""", "h: nonlinear dense 1")
_cell("""
cell CoRNN(D, H, dt = 0.1, gamma = 1.0, eps = 1.0):
  input x: [D]
  state y, z: [H]
  param R, Z: [H, H]
  param V: [H, D]
  param b: [H]
  z[t] = z[t-1] + dt * (tanh(R @ y[t-1] + Z @ z[t-1] + V @ x + b) - gamma * y[t-1] - eps * z[t-1])
  y[t] = y[t-1] + dt * z[t]
  output y
""", "z y: nonlinear dense 2")
_cell("""
cell LEM(D, H, dt = 1.0):
  input x: [D]
  state y, z: [H]
  param W1, W2, W_z, W_y: [H, H]
  param V1, V2, V_z, V_y: [H, D]
  d1 = dt * sigmoid(W1 @ y[t-1] + V1 @ x)
  d2 = dt * sigmoid(W2 @ y[t-1] + V2 @ x)
  z[t] = (1 - d1) * z[t-1] + d1 * tanh(W_z @ y[t-1] + V_z @ x)
  y[t] = (1 - d2) * y[t-1] + d2 * tanh(W_y @ z[t] + V_y @ x)
  output y
""", "z y: nonlinear dense 2", y=UNIT, z=UNIT)
_cell("""
cell AntisymmetricRNN(D, H, eps = 0.1, gamma = 0.01):
  input x: [D]
  state h: [H]
  param R: [H, H]
  param V: [H, D]
  h[t] = h[t-1] + eps * tanh((R - R.T - gamma * eye(H)) @ h[t-1] + V @ x)
  output h
""", "h: nonlinear dense 1")
_cell("""
cell ExpRNN(D, H):
  input x: [D]
  state h: [H]
  param A: [H, H]
  param W: [H, D]
  param b: [H]
  z = expm(A - A.T) @ h[t-1] + W @ x
  h[t] = sign(z) * relu(abs(z) + b)
  output h
""", "h: nonlinear dense 1")
_cell("""
cell LTC(D, H, dt = 0.1):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param R: [H, H]
  param A: [H]
  param tau: [H] > 0
  f = sigmoid(W @ x + R @ h[t-1])
  h[t] = (h[t-1] + dt * f * A) / (1 + dt * (1 / tau + f))
  output h
""", "h: nonlinear dense 1")
_cell("""
def lecun_tanh(z) = 1.7159 * tanh(0.666 * z)
cell CfC(D, H, B):
  input x: [D]
  input dt: []
  state h: [H]
  param U: [B, D]
  param R: [B, H]
  param F1, F2, A, Bt: [H, B]
  z = lecun_tanh(U @ x + R @ h[t-1])
  s = sigmoid(A @ z * dt + Bt @ z)
  h[t] = tanh(F1 @ z) * (1 - s) + s * tanh(F2 @ z)
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell PLRNN(D, H):
  input x: [D]
  state z: [H]
  param A, h0: [H]
  param W: [H, H]
  param C: [H, D]
  z[t] = A * z[t-1] + W @ relu(z[t-1]) + h0 + C @ x
  output z
""", "z: nonlinear dense 1")
_cell("""
cell ShallowPLRNN(D, H, M):
  input x: [D]
  state z: [H]
  param A, h1: [H]
  param W1: [H, M]
  param W2: [M, H]
  param h2: [M]
  param C: [H, D]
  z[t] = A * z[t-1] + W1 @ relu(W2 @ z[t-1] + h2) + h1 + C @ x
  output z
""", "z: nonlinear dense 1")
_cell("""
cell NBRC(D, H):
  input x: [D]
  state h: [H]
  param U_a, U_c, U: [H, D]
  param W_a, W_c: [H, H]
  a = 1 + tanh(U_a @ x + W_a @ h[t-1])
  c = sigmoid(U_c @ x + W_c @ h[t-1])
  h[t] = c * h[t-1] + (1 - c) * tanh(U @ x + a * h[t-1])
  output h
""", "h: nonlinear dense 1", h=UNIT)
_cell("""
cell LMU(D, H, M):
  "Voelker et al. 2019: the memory hears the hidden state."
  input x: [D]
  state h: [H]
  state m: [M]
  const A: [M, M]
  const B: [M]
  param e_x: [D]
  param e_h: [H]
  param e_m: [M]
  param W_x: [H, D]
  param W_h: [H, H]
  param W_m: [H, M]
  u = dot(e_x, x) + dot(e_h, h[t-1]) + dot(e_m, m[t-1])
  m[t] = A @ m[t-1] + B * u
  h[t] = tanh(W_x @ x + W_h @ h[t-1] + W_m @ m[t])
  output h
""", "m h: nonlinear dense 2", h=UNIT)
_cell("""
cell LinearLMU(D, H, M):
  "Chilkuri and Eliasmith 2021."
  input x: [D]
  state m: [M]
  state h: [H]
  const A: [M, M]
  const B: [M]
  param e: [D]
  param W: [H, M]
  m[t] = A @ m[t-1] + B * dot(e, x)
  h[t] = relu(W @ m[t])
  output h
""", "m: affine dense 1, invariant", "h: affine diagonal 1")
_cell("""
cell ManyLMU(D, H, M):
  "One memory of order M for each of H signals."
  input x: [D]
  state m: [M, H]
  const A: [M, M]
  const b: [M]
  param W: [H, D]
  m[t] = A @ m[t-1] + outer(b, W @ x)
  output y = b @ m[t]
""", "m: affine left 1, invariant")
_cell("""
cell KalmanRankOne(D, H):
  "Recursive least squares with forgetting."
  input x: [H]
  input y: []
  state P: [H, H] = eye(H)
  state w: [H]
  param lam: [] in (0, 1)
  u = P[t-1] @ x
  k = u / (lam + dot(x, u))
  P[t] = (P[t-1] - outer(k, u)) / lam
  w[t] = w[t-1] + k * (y - dot(w[t-1], x))
  output w
""", "P: nonlinear dense 1", "w: affine dense 1")

# Per channel

_cell("""
cell IndRNN(D, H):
  input x: [D]
  state h: [H]
  param W: [H, D]
  param u, b: [H]
  h[t] = relu(W @ x + u * h[t-1] + b)
  output h
""", "h: nonlinear diagonal 1", h=(0.0, float("inf")))
_cell("""
cell ParaGRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_r, W_n: [H, D]
  param a_z, a_r, a_n: [H]
  z = sigmoid(W_z @ x + a_z * h[t-1])
  r = sigmoid(W_r @ x + a_r * h[t-1])
  n = tanh(W_n @ x + a_n * (r * h[t-1]))
  h[t] = (1 - z) * h[t-1] + z * n
  output h
""", "h: nonlinear diagonal 1", h=UNIT)
_cell("""
cell ParaLSTM(D, H):
  input x: [D]
  state h, c: [H]
  param W_f, W_z, W_o: [H, D]
  param a_f, a_z, a_o, p_f, p_o: [H]
  f = sigmoid(W_f @ x + a_f * h[t-1] + p_f * c[t-1])
  z = tanh(W_z @ x + a_z * h[t-1])
  c[t] = f * c[t-1] + (1 - f) * z
  o = sigmoid(W_o @ x + a_o * h[t-1] + p_o * c[t])
  h[t] = o * tanh(c[t])
  output h
""", "c h: nonlinear block 2", c=UNIT, h=(-0.7615941559557649, 0.7615941559557649))
_cell("""
cell BRC(D, H):
  input x: [D]
  state h: [H]
  param U_a, U_c, U: [H, D]
  param w_a, w_c: [H]
  a = 1 + tanh(U_a @ x + w_a * h[t-1])
  c = sigmoid(U_c @ x + w_c * h[t-1])
  h[t] = c * h[t-1] + (1 - c) * tanh(U @ x + a * h[t-1])
  output h
""", "h: nonlinear diagonal 1", h=UNIT)
_cell("""
cell SRU(D, H):
  input x: [D]
  state c: [H]
  param W, W_f, W_r: [H, D]
  param v_f, v_r, b_f, b_r: [H]
  f = sigmoid(W_f @ x + v_f * c[t-1] + b_f)
  r = sigmoid(W_r @ x + v_r * c[t-1] + b_r)
  c[t] = f * c[t-1] + (1 - f) * W @ x
  output h = r * c[t] + (1 - r) * W_r @ x
""", "c: nonlinear diagonal 1")
_cell("""
cell LrcSSM(D, H, dt = 1.0):
  input x: [D]
  state h: [H]
  param W_f, W_z, W_e: [H, D]
  param w_f, w_z, w_e, g: [H]
  f = sigmoid(w_f * h[t-1] + W_f @ x) + softplus(g)
  z = tanh(w_z * h[t-1] + W_z @ x)
  e = sigmoid(w_e * h[t-1] + W_e @ x)
  h[t] = h[t-1] + dt * (-sigmoid(f) * e * h[t-1] + e * z)
  output h
""", "h: nonlinear diagonal 1", h=(-2.0, 2.0))
_cell("""
cell UnICORNN(D, H, dt = 0.1, alpha = 1.0):
  input x: [D]
  state y, z: [H]
  param V: [H, D]
  param w, b, c: [H]
  z[t] = z[t-1] - dt * sigmoid(c) * (tanh(w * y[t-1] + V @ x + b) + alpha * y[t-1])
  y[t] = y[t-1] + dt * sigmoid(c) * z[t]
  output y
""", "z y: nonlinear block 2")
_cell("""
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
cell LIF(D, H, theta = 1.0):
  input x: [D]
  state u: [H]
  param W: [H, D]
  param beta: [H] in (0, 1)
  u[t] = beta * u[t-1] + W @ x - theta * spike(u[t-1] - theta)
  output s = spike(u[t] - theta)
""", "u: nonlinear diagonal 1")
_cell("""
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
cell AdaptiveLIF(D, H, theta = 1.0):
  input x: [D]
  state u, a: [H]
  param W: [H, D]
  param alpha, rho: [H] in (0, 1)
  param beta: [H] > 0
  s = spike(u[t-1] - theta - beta * a[t-1])
  a[t] = rho * a[t-1] + (1 - rho) * s
  u[t] = alpha * u[t-1] + (1 - alpha) * W @ x - s * theta
  output s = spike(u[t] - theta - beta * a[t])
""", "a u: nonlinear block 2", a=(0.0, 1.0))
_cell("""
def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2
cell RecurrentLIF(D, H, theta = 1.0):
  input x: [D]
  state u, s: [H]
  param W: [H, D]
  param R: [H, H]
  param beta: [H] in (0, 1)
  u[t] = beta * u[t-1] * (1 - s[t-1]) + W @ x + R @ s[t-1]
  s[t] = spike(u[t] - theta)
  output s
""", "u s: nonlinear dense 2", s=(0.0, 1.0))
_cell("""
cell Izhikevich(D, H, dt = 0.5, a = 0.02, b = 0.2, c = -65, d = 8):
  input x: [D]
  state v: [H] = -65
  state u: [H] = -13
  param W: [H, D]
  s = heaviside(v[t-1] - 30)
  w = where(s, c, v[t-1])
  r = u[t-1] + d * s
  v[t] = w + dt * (0.04 * w^2 + 5 * w + 140 - r + W @ x)
  u[t] = r + dt * a * (b * w - r)
  output s
""", "v u: nonlinear block 2")
_cell("""
cell ScalarKalman(H, q = 0.1):
  "A Gaussian filter for every channel: the gain forgets the mean."
  input x: [H]
  state p: [H] = 1
  state m: [H]
  param r: [H] > 0
  k = (p[t-1] + q) / (p[t-1] + q + r)
  p[t] = (1 - k) * (p[t-1] + q)
  m[t] = m[t-1] + k * (x - m[t-1])
  output m, p
""", "p: nonlinear diagonal 1", "m: affine diagonal 1")

# Exact scans

_cell("""
cell EMA(H):
  input x: [H]
  state h: [H]
  param a: [H] in (0, 1)
  h[t] = a * h[t-1] + (1 - a) * tanh(x)
  output h
""", "h: affine diagonal 1, invariant", h=UNIT)
_cell("""
cell QRNN(D, H):
  input x: [D]
  state c: [H]
  param W_z, W_f, W_o, V_z, V_f, V_o: [H, D]
  f = sigmoid(W_f @ x + V_f @ x[t-1])
  c[t] = f * c[t-1] + (1 - f) * tanh(W_z @ x + V_z @ x[t-1])
  output h = sigmoid(W_o @ x + V_o @ x[t-1]) * c[t]
""", "c: affine diagonal 1", c=UNIT)
_cell("""
cell MinGRU(D, H):
  input x: [D]
  state h: [H]
  param W_z, W_h: [H, D]
  z = sigmoid(W_z @ x)
  h[t] = (1 - z) * h[t-1] + z * W_h @ x
  output h
""", "h: affine diagonal 1")
_cell("""
cell MinLSTM(D, H):
  input x: [D]
  state h: [H]
  param W_f, W_i, W_h: [H, D]
  f = sigmoid(W_f @ x)
  i = sigmoid(W_i @ x)
  h[t] = f / (f + i) * h[t-1] + i / (f + i) * W_h @ x
  output h
""", "h: affine diagonal 1")
_cell("""
cell HGRN(D, H):
  input x: [D]
  state h: complex [H]
  param W_f, W_i, W_re, W_im: [H, D]
  param th: [H]
  param g: [H] in (0, 1)
  f = g + (1 - g) * sigmoid(W_f @ x)
  c = silu(W_re @ x) + 1j * silu(W_im @ x)
  h[t] = f * exp(1j * th) * h[t-1] + (1 - f) * c
  output y = re(h[t]), z = im(h[t])
""", "h: affine diagonal 1")
_cell("""
cell RGLRU(D, H, c = 8):
  input x: [D]
  state h: [H]
  param W_a, W_x, W: [H, D]
  param L: [H]
  a = exp(-c * softplus(L) * sigmoid(W_a @ x))
  h[t] = a * h[t-1] + sqrt(1 - a^2) * (sigmoid(W_x @ x) * W @ x)
  output h
""", "h: affine diagonal 1")
_cell("""
cell LRU(D, H):
  input x: [D]
  state h: complex [H]
  param nu, th, ga: [H]
  param B: complex [H, D]
  param C: complex [D, H]
  lam = exp(-exp(nu) + 1j * exp(th))
  h[t] = lam * h[t-1] + exp(ga) * B @ x
  output y = re(C @ h[t])
""", "h: affine diagonal 1, invariant")
_cell("""
cell S5(D, H):
  input x: [D]
  state h: complex [H]
  param A: complex [H]
  param dt: [H] > 0
  param B: complex [H, D]
  param C: complex [D, H]
  a = exp(A * dt)
  h[t] = a * h[t-1] + (a - 1) / A * B @ x
  output y = 2 * re(C @ h[t])
""", "h: affine diagonal 1, invariant")
_cell("""
cell LinOSS(D, H, dt = 0.1):
  input x: [D]
  state y, z: [H]
  param A: [H] > 0
  param B: [H, D]
  z[t] = z[t-1] + dt * (B @ x - A * y[t-1])
  y[t] = y[t-1] + dt * z[t]
  output y
""", "z y: affine block 2, invariant")
_cell("""
cell Mamba(D, H, K):
  input x: [D]
  state h: [H, K]
  param W: [H, D]
  param W_d: [H, D]
  param W_B, W_C: [K, D]
  param A_log: [H, K]
  u = silu(W @ x)
  d = softplus(W_d @ x)
  h[t] = exp(-diag(d) @ exp(A_log)) * h[t-1] + outer(d * u, W_B @ x)
  output y = h[t] @ (W_C @ x)
""", "h: affine diagonal 1")
_cell("""
cell Mamba2(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_B, W_C: [K, D]
  param W_x: [N; V, D]
  param w_d: [N; D]
  param A_log: [N;]
  d = softplus(dot(w_d, x))
  S[t] = exp(-exp(A_log) * d) * S[t-1] + outer(W_B @ x, d * (W_x @ x))
  output y = merge((W_C @ x) @ S[t])
""", "S: affine diagonal 1")
_cell("""
cell LinearAttention(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  state z: [N; K]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  k = elu(W_k @ x) + 1
  q = elu(W_q @ x) + 1
  S[t] = S[t-1] + outer(k, W_v @ x)
  z[t] = z[t-1] + k
  output y = merge(q @ S[t] / dot(q, z[t]))
""", "S: affine diagonal 1, invariant", "z: affine diagonal 1, invariant", z=(0.0, float("inf")))
_cell("""
cell RetNet(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  param gamma: [N;] in (0, 1)
  S[t] = gamma * S[t-1] + outer(W_k @ x, W_v @ x)
  output y = merge((W_q @ x) @ S[t])
""", "S: affine diagonal 1, invariant")
_cell("""
cell GLA(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_q, W_k, W_a: [N; K, D]
  param W_v: [N; V, D]
  a = sigmoid(W_a @ x)^0.0625
  S[t] = diag(a) @ S[t-1] + outer(W_k @ x, W_v @ x)
  output y = merge((W_q @ x) @ S[t])
""", "S: affine diagonal 1")
_cell("""
cell RWKV4(D, H):
  input x: [D]
  state p: [H] = -inf
  state a, b: [H]
  param W_k, W_v, W_r: [H, D]
  param w, u: [H]
  k = W_k @ x
  v = W_v @ x
  d = p[t-1] - exp(w)
  p[t] = max(d, k)
  a[t] = exp(d - p[t]) * a[t-1] + exp(k - p[t]) * v
  b[t] = exp(d - p[t]) * b[t-1] + exp(k - p[t])
  q = max(p[t-1], u + k)
  e = exp(p[t-1] - q)
  g = exp(u + k - q)
  output y = sigmoid(W_r @ x) * (e * a[t-1] + g * v) / (e * b[t-1] + g)
""", "p: max-plus diagonal 1", "a: affine diagonal 1", "b: affine diagonal 1", b=(0.0, float("inf")))
_cell("""
cell RWKV6(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_r, W_k, W_w: [N; K, D]
  param W_v: [N; V, D]
  param u: [N; K]
  k = W_k @ x
  w = exp(-exp(W_w @ x))
  S[t] = diag(w) @ S[t-1] + outer(k, W_v @ x)
  output y = merge((W_r @ x) @ (S[t-1] + outer(u * k, W_v @ x)))
""", "S: affine diagonal 1")
_cell("""
cell RWKV7(D, N, K, V):
  input x: [D]
  state S: [N; V, K]
  param W_r, W_k, W_w, W_a: [N; K, D]
  param W_v: [N; V, D]
  k = W_k @ x
  e = normalize(k)
  w = exp(-0.6065 * sigmoid(W_w @ x))
  a = sigmoid(W_a @ x)
  S[t] = S[t-1] @ diag(w) - outer(S[t-1] @ e, a * e) + outer(W_v @ x, k)
  output y = merge(S[t] @ (W_r @ x))
""", "S: affine right 1")
_cell("""
cell DeltaNet(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  param w_b: [N; D]
  k = normalize(silu(W_k @ x))
  S[t] = S[t-1] + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ S[t-1])
  output y = merge((W_q @ x) @ S[t])
""", "S: affine left 1")
_cell("""
cell GatedDeltaNet(D, N, K, V):
  input x: [D]
  state S: [N; K, V]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  param w_b, w_a: [N; D]
  param A_log: [N;]
  k = normalize(silu(W_k @ x))
  Sd = exp(-exp(A_log) * softplus(dot(w_a, x))) * S[t-1]
  S[t] = Sd + sigmoid(dot(w_b, x)) * outer(k, W_v @ x - k @ Sd)
  output y = merge((W_q @ x) @ S[t])
""", "S: affine left 1")
_cell("""
cell MLSTM(D, N, K, V):
  input x: [D]
  state m: [N;] = -inf
  state C: [N; V, K]
  state n: [N; K]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  param w_i, w_f: [N; D]
  i = dot(w_i, x)
  f = logsigmoid(dot(w_f, x))
  k = W_k @ x / sqrt(K)
  q = W_q @ x
  m[t] = max(f + m[t-1], i)
  a = exp(f + m[t-1] - m[t])
  b = exp(i - m[t])
  C[t] = a * C[t-1] + b * outer(W_v @ x, k)
  n[t] = a * n[t-1] + b * k
  output y = merge(C[t] @ q / max(abs(dot(n[t], q)), exp(-m[t])))
""", "m: max-plus diagonal 1", "C: affine diagonal 1", "n: affine diagonal 1")
_cell("""
cell SLSTM(D, N, K):
  "Gauge-free states: l = log n + m and r = c / n."
  input x: [D]
  state h, r: [N; K]
  state l: [N; K] = -inf
  param W_i, W_f, W_z, W_o: [N; K, D]
  param R_i, R_f, R_z, R_o: [N; K, K]
  i = W_i @ x + R_i @ h[t-1]
  l[t] = logaddexp(logsigmoid(W_f @ x + R_f @ h[t-1]) + l[t-1], i)
  b = exp(i - l[t])
  r[t] = (1 - b) * r[t-1] + b * tanh(W_z @ x + R_z @ h[t-1])
  h[t] = sigmoid(W_o @ x + R_o @ h[t-1]) * r[t]
  output y = merge(h[t])
""", "l r h: nonlinear head 3")
_cell("""
cell PublishedSLSTM(D, N, K):
  input x: [D]
  state h, c, n, m: [N; K]
  param W_i, W_f, W_z, W_o: [N; K, D]
  param R_i, R_f, R_z, R_o: [N; K, K]
  i = W_i @ x + R_i @ h[t-1]
  f = logsigmoid(W_f @ x + R_f @ h[t-1]) + m[t-1]
  m[t] = max(f, i)
  c[t] = exp(f - m[t]) * c[t-1] + exp(i - m[t]) * tanh(W_z @ x + R_z @ h[t-1])
  n[t] = exp(f - m[t]) * n[t-1] + exp(i - m[t])
  h[t] = sigmoid(W_o @ x + R_o @ h[t-1]) * c[t] / n[t]
  output y = merge(h[t])
""", "m c n h: nonlinear head 4", n=(0.0, float("inf")))
_cell("""
cell M2RNN(D, N, K, V):
  input x: [D]
  state H: [N; K, V]
  param W_q, W_k: [N; K, D]
  param W_v: [N; V, D]
  param w_f: [N; D]
  param W: [N; V, V]
  f = sigmoid(dot(w_f, x))
  H[t] = f * H[t-1] + (1 - f) * tanh(H[t-1] @ W + outer(W_k @ x, W_v @ x))
  output y = merge((W_q @ x) @ H[t])
""", "H: nonlinear right 1", H=UNIT)
_cell("""
cell AR2(H):
  input x: [H]
  state h: [H]
  param a, b: [H]
  h[t] = a * h[t-1] + b * h[t-2] + x
  output h
""", "h: affine block 2, invariant")
_cell("""
cell Running(D, H):
  "Sums, counts, means, maxima and soft maxima over time."
  input x: [D]
  state total, top: [H] = -inf
  state n: []
  state sum_x, soft: [H]
  param W: [H, D]
  u = W @ x
  n[t] = n[t-1] + 1
  sum_x[t] = sum_x[t-1] + u
  total[t] = logaddexp(total[t-1], u)
  top[t] = max(top[t-1], u)
  soft[t] = softplus(soft[t-1] + u)
  output mean_x = sum_x[t] / n[t], top, total, soft
""", "n: affine diagonal 1, invariant", "sum_x: affine diagonal 1, invariant", "total: log-semiring diagonal 1",
   "top: max-plus diagonal 1", "soft: log-semiring diagonal 1", n=(0.0, float("inf")), soft=(0.0, float("inf")))
_cell("""
cell Cusum(D, H):
  "Page 1954: evidence that never falls below zero."
  input x: [D]
  state g: [H]
  param W: [H, D]
  g[t] = relu(g[t-1] + W @ x)
  output g
""", "g: max-plus diagonal 1", g=(0.0, float("inf")))
_cell("""
cell ResettableMax(H):
  input x: [H]
  input start: []
  state m: [H]
  m[t] = max(where(start > 0, -inf, m[t-1]), x)
  output m
""", "m: max-plus diagonal 1")
_cell("""
cell Feedforward(D, H):
  input x: [D]
  state h, g: [H]
  param W: [H, D]
  h[t] = tanh(W @ x)
  g[t] = 0.5 * g[t-1] + h[t-1]
  output g
""", "h: affine diagonal 1", "g: affine diagonal 1, invariant")
_cell("""
cell ConjugateGate(D, H):
  "A widely linear complex filter: real and imaginary parts are read apart."
  input x: [D]
  state h: complex [H]
  param a, b: complex [H]
  param B: complex [H, D]
  h[t] = a * h[t-1] + b * conj(h[t-1]) + B @ x
  output y = re(h[t])
""", "h: affine block 2, invariant")
_cell("""
cell ModReLU(D, H):
  "A unitary cell with phases alone as its recurrence."
  input x: [D]
  state h: complex [H]
  param th, b: [H]
  param B: complex [H, D]
  z = exp(1j * th) * h[t-1] + B @ x
  h[t] = z * relu(abs(z) + b) / (abs(z) + 1e-5)
  output y = re(h[t])
""", "h: nonlinear block 2")
_cell("""
cell LorenzStyle(D, H, dt = 0.01):
  "Three values a channel, one of which the first alone reads."
  input x: [D]
  state a, b, c: [H]
  param W: [H, D]
  param p: [H]
  a[t] = a[t-1] + dt * (b[t-1] - a[t-1]) + W @ x
  b[t] = b[t-1] + dt * (a[t-1] * (p - c[t-1]) - b[t-1])
  c[t] = c[t-1] + dt * (a[t-1] * b[t-1] - c[t-1])
  output a
""", "a b c: nonlinear block 3")
