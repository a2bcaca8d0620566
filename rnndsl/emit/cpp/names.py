"""Identifiers of generated C++ that clash with nothing it uses."""

import re

from rnndsl.emit.naming import Names

_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl concept const consteval
constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do double dynamic_cast else enum explicit
export extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast requires return short signed sizeof static static_assert static_cast struct switch template
this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq
"""
_USED = """
T L tag r b t rows call memory unit std rnndsl math gemm Array Call Memory Lanes Vec WIDTH BYTES PANEL INLINE EXPORT load store fill
over parallel old zero reduce pack multiply multiply_plain packed_size block_of rows_of exp log log1p expm1 tanh sigmoid softplus logsigmoid
sqrt rsqrt abs sign floor sin cos relu heaviside max min pow pow_int logaddexp reciprocal select lt le gt ge eq ne angle sum largest start
EXTENT ROWS BLOCK BLOCKS LAST arrays x y main size run forward backward int8_t int16_t int32_t int64_t uint8_t uint64_t NULL INFINITY NAN
extent block part parts share rest unit OTHERS from to head total i others BLOCK LAST start at_end first batch steps
all M_PI linux unix errno assert j0 j1 jn y0 y1 yn gamma signgam
"""
RESERVED = frozenset(_KEYWORDS.split() + _USED.split() + [f"{c}{k}" for c in "in" for k in range(10)])


class CppNames(Names):
    """Gives each key one identifier of ASCII letters."""

    def __init__(self) -> None:
        super().__init__(RESERVED)

    def _fresh(self, wanted: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_]", lambda m: "_" if m[0] in "._- []" else f"u{ord(m[0]):x}", wanted)
        plain = re.sub(r"__+", "_", plain).strip("_")  # the language keeps double underscores to itself
        return super()._fresh(plain if plain and not plain[0].isdigit() else f"v{plain}")

    def child(self) -> "CppNames":
        """Names of an inner scope: those given so far stand, and new ones stay inside."""
        inner = CppNames()
        inner._taken, inner._given = set(self._taken), dict(self._given)
        return inner
