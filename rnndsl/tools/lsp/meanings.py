"""What the words of the language mean, in a line each: for hovers and completions. Functions have theirs in their table. A test holds it
against the compiler's tables."""

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
