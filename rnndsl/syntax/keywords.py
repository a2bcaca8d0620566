"""The one table of reserved words; the grammar, the checks and the editors' lexers are held against it."""

KEYWORDS: dict[str, str] = {
    "cell": "opens a recurrent cell",
    "input": "declares a stream, one value a step",
    "state": "declares a carried value",
    "param": "declares a learnable tensor",
    "const": "declares a buffer that is not learned",
    "noise": "declares a random stream",
    "output": "says what the layer returns a step",
    "def": "defines an inlined function",
    "grad": "gives a surrogate derivative for the backward pass",
    "repeat": "opens an unrolled block",
    "in": "the range of a repeat, or an open interval of a param",
    "end": "closes a repeat",
    "complex": "declares complex values",
    "inf": "infinity",
    "pi": "the circle constant",
}

ONCE = "once"  # behind a noise; a name everywhere else
TIME = "t"  # reserved: the step index inside [ ], the step number elsewhere
