"""What the words of the language mean, in a line each: for hovers and completions. A test holds it against the compiler's tables."""

# A form to write, for each keyword.
FORMS: dict[str, str] = {
    "cell": "cell NAME(D, H, dt = 0.05):",
    "input": "input x: [D]",
    "state": "state h, c: [H] = 0",
    "param": "param b: [H] in (0, 1) ~ constant(0.5)",
    "const": "const p: [H] = 1 / sqrt(H)",
    "noise": "noise m: [H] ~ bernoulli(0.9)",
    "output": "output h, y = W @ h[t]",
    "def": "def f(z, b) = max(z, b * z)",
    "grad": "def spike(v) = heaviside(v) grad 1 / (1 + 25 * abs(v))^2",
    "repeat": "repeat k in 1..L:",
    "in": "param b: [H] in (0, 1)",
    "end": "end",
    "complex": "state h: complex [H]",
    "inf": "state l: [H] = -inf",
    "pi": "z = cos(2 * pi * x)",
}

# How each built-in function is called, and what it gives.
FUNCTIONS: dict[str, tuple[str, str]] = {
    "tanh": ("tanh(v)", "hyperbolic tangent"),
    "sigmoid": ("sigmoid(v)", "1 / (1 + exp(-v))"),
    "relu": ("relu(v)", "max(v, 0)"),
    "exp": ("exp(v)", "exponential"),
    "log": ("log(v)", "natural logarithm"),
    "sqrt": ("sqrt(v)", "square root"),
    "abs": ("abs(v)", "absolute value; real also of a complex value"),
    "sign": ("sign(v)", "-1, 0 or 1"),
    "softplus": ("softplus(v)", "log(1 + exp(v))"),
    "logsigmoid": ("logsigmoid(v)", "log(sigmoid(v))"),
    "silu": ("silu(v)", "v * sigmoid(v)"),
    "gelu": ("gelu(v)", "Gaussian error linear unit, in its tanh form"),
    "elu": ("elu(v)", "v where v > 0, else exp(v) - 1"),
    "sin": ("sin(v)", "sine"),
    "cos": ("cos(v)", "cosine"),
    "floor": ("floor(v)", "the largest whole number that is not above v"),
    "heaviside": ("heaviside(v)", "1 where v > 0, else 0"),
    "re": ("re(v)", "real part"),
    "im": ("im(v)", "imaginary part"),
    "conj": ("conj(v)", "complex conjugate"),
    "max": ("max(a, b)", "the larger of two values, elementwise"),
    "min": ("min(a, b)", "the smaller of two values, elementwise"),
    "logaddexp": ("logaddexp(a, b)", "log(exp(a) + exp(b))"),
    "mod": ("mod(a, b)", "a - b * floor(a / b)"),
    "where": ("where(cond, a, b)", "a where cond is not 0, else b"),
    "softmax": ("softmax(v)", "a vector to a vector whose entries add up to 1"),
    "cumsum": ("cumsum(v)", "running sums of a vector"),
    "normalize": ("normalize(v)", "a vector to one of length 1: v / sqrt(v·v + 1e-12)"),
    "layernorm": ("layernorm(v)", "a vector with mean 0 and variance 1 (eps 1e-5), without weights of its own"),
    "rmsnorm": ("rmsnorm(v)", "a vector over its root mean square (eps 1e-5), without weights of its own"),
    "sum": ("sum(v)", "the sum of a vector"),
    "mean": ("mean(v)", "the mean of a vector"),
    "norm": ("norm(v)", "the length of a vector"),
    "dot": ("dot(u, v)", "the sum of u * v, without a conjugate"),
    "outer": ("outer(k, v)", "two vectors to the matrix of their products, [K, V]"),
    "diag": ("diag(v)", "a vector to a diagonal matrix"),
    "merge": ("merge(a)", "[N; K] to [N*K]: the heads end to end"),
    "heads": ("heads(v, N)", "[N*K] to [N; K], the inverse of merge"),
    "split": ("split(v, n)", "n equal parts of a vector: `i, f = split(v, 2)`"),
    "concat": ("concat(u, v, …)", "vectors end to end"),
    "reshape": ("reshape(A, m, n)", "the same entries, read row by row, in another shape"),
    "expm": ("expm(A)", "matrix exponential; of params and consts only"),
    "eye": ("eye(n)", "the n by n identity; of params and consts only"),
    "ones": ("ones(n)", "a vector of n ones; of params and consts only"),
}

# What may stand after `~`.
DRAWS: dict[str, tuple[str, str]] = {
    "zeros": ("zeros", "fills with 0"),
    "ones": ("ones", "fills with 1"),
    "constant": ("constant(c)", "fills with c"),
    "normal": ("normal(mean, std)", "normal random numbers; as an initialiser also normal(std)"),
    "uniform": ("uniform(lo, hi)", "uniform random numbers between lo and hi"),
    "linspace": ("linspace(lo, hi)", "equal steps along the last axis"),
    "xavier_uniform": ("xavier_uniform", "a matrix as torch.nn.init.xavier_uniform_ fills it"),
    "xavier_normal": ("xavier_normal", "a matrix as torch.nn.init.xavier_normal_ fills it"),
    "kaiming_uniform": ("kaiming_uniform", "a matrix as torch.nn.Linear fills it"),
    "kaiming_normal": ("kaiming_normal", "a matrix as torch.nn.init.kaiming_normal_ fills it"),
    "orthogonal": ("orthogonal", "an orthogonal matrix"),
    "eye": ("eye", "the identity matrix"),
    "bernoulli": ("bernoulli(p)", "1 with probability p, else 0"),
}

# What a name of each role is.
ROLES: dict[str, str] = {
    "cell": "a recurrent cell",
    "function": "a function of this file, put in place of each call",
    "argument": "an argument of this function",
    "size": "a size: an argument of the layer's constructor",
    "hyper": "a hyperparameter: an argument of the layer's constructor",
    "counter": "the counter of this repeat, from its first bound to its second",
    "local": "a local",
    "input": "an input: one value a step",
    "state": "a state, carried from step to step",
    "param": "learned",
    "const": "a buffer, not learned",
    "noise": "random in training, its mean in evaluation",
}

TIME = "the step: `h[t-1]` is the old value of a state, `h[t]` the new one. Outside of [ ], the step number, from 0"
TRANSPOSE = "the transpose of a matrix"
OUTPUT = "an output: the layer returns it under this name at every step"
