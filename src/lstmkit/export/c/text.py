"""C as text: identifiers, numbers that read back exactly, arrays, indices, indentation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from lstmkit.operations import Array, ProgramError

WIDTH = 100
INDENT = "    "

# Words of C and C++, and the names that generated code uses for itself.
_C = """auto break case char const continue default do double else enum extern float for goto if
inline int long register restrict return short signed sizeof static struct switch typedef union
unsigned void volatile while"""
_CPP = """alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class
co_await co_return co_yield compl concept const_cast consteval constexpr constinit decltype delete
dynamic_cast explicit export false friend mutable namespace new noexcept not not_eq nullptr operator
or or_eq private protected public reinterpret_cast requires static_assert static_cast template this
thread_local throw true try typeid typename using virtual wchar_t xor xor_eq"""
_MACHINE = "main memcpy memset NULL errno stdin stdout stderr linux unix i386 near far"
_OWN = """state work i j k l i4 i5 i6 i7 i8 i9 r t n c f g o cell in
out row length largest whole seen count inside"""
RESERVED = frozenset(f"{_C} {_CPP} {_MACHINE} {_OWN}".split())
LOOPS = "ijkl"


class Names:
    """Identifiers that are all different, made from names that may be anything."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)

    def take(self, wanted: str) -> str:
        """`wanted`, made an identifier that nobody has."""
        base = identifier(wanted)
        found, count = base, 1
        while found in self._taken:
            count += 1
            found = f"{base}_{count}"
        self._taken.add(found)
        return found


def identifier(name: str) -> str:
    """`name` with whatever C does not take in one replaced; not checked against keywords."""
    found = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_")
    return found if found[:1].isalpha() else f"v{found}"


def is_identifier(name: str) -> bool:
    """Whether C and C++ take it as a name, and nothing else has it."""
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)) and name not in RESERVED


def number(value: float) -> str:
    """A float32 constant that reads back exactly.

    Raises:
        ProgramError: what is not finite has no constant.
    """
    return _floats(np.float32(value).reshape(1), "a constant")[0]


def array(ctype: str, name: str, values: Array) -> str:
    """`static const ctype name[n] = {...};` over lines of at most 100 characters.

    Raises:
        ProgramError: floats that are not finite.
    """
    flat = values.reshape(-1)
    words = _floats(flat, name) if ctype == "float" else [str(v) for v in flat.tolist()]
    return f"static const {ctype} {name}[{flat.size}] = {{\n{_lines(words)}\n}};\n"


def _floats(values: Array, name: str) -> list[str]:
    single = values.astype(np.float32)
    if not np.isfinite(single).all():
        bad = single[~np.isfinite(single)][0]
        raise ProgramError(
            f"{name} cannot be written as C",
            got=str(bad),
            expected="finite numbers",
            hint="C has no constant for infinity and NaN without a library",
        )
    return [_point(f"{v:.9g}") for v in single.tolist()]


def _point(digits: str) -> str:
    return digits + ("f" if "." in digits or "e" in digits else ".0f")


def _lines(words: Iterable[str]) -> str:
    lines, line = [], INDENT
    for word in words:
        if len(line) + len(word) + 2 > WIDTH:
            lines.append(line.rstrip())
            line = INDENT
        line += word + ", "
    return "\n".join([*lines, line.rstrip().rstrip(",")])


def index(variables: Sequence[str], strides: Sequence[int], offset: int = 0) -> str:
    """Where an element lies: `i * 12 + j`; a variable that is "0" is left out."""
    terms = [
        v if stride == 1 else f"{v} * {stride}"
        for v, stride in zip(variables, strides, strict=True)
        if v != "0" and stride
    ]
    terms += [str(offset)] if offset or not terms else []
    return " + ".join(terms)


def contiguous(shape: Sequence[int]) -> list[int]:
    """The strides of an array that lies whole and in order."""
    found = [1]
    for size in reversed(shape[1:]):
        found.append(found[-1] * size)
    return found[::-1][: len(shape)]


def collapsed(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """The same elements in the same order by fewer dimensions: those of size 1 left out,
    neighbours joined where every operand lies in order over both."""
    sizes: list[int] = []
    found: list[list[int]] = [[] for _ in strides]
    for d, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all(f[-1] == s[d] * size for f, s in zip(found, strides, strict=True)):
            sizes[-1] *= size
            for f, s in zip(found, strides, strict=True):
                f[-1] = s[d]
            continue
        sizes.append(size)
        for f, s in zip(found, strides, strict=True):
            f.append(s[d])
    return sizes, found


def indented(lines: Iterable[str]) -> str:
    """Lines of code, each moved in by the braces that are open before it."""
    found, depth = [], 0
    for line in lines:
        depth -= line.startswith("}")
        found += _wrapped(line, INDENT * depth)
        depth += line.count("{") - line.count("}") + line.startswith("}")
    return "\n".join(found) + "\n"


def _wrapped(line: str, indent: str) -> list[str]:
    """A line of code as several where it is too long, broken after commas."""
    found, more = [], INDENT
    while len(indent) + len(line) > WIDTH and ", " in line[: WIDTH - len(indent)]:
        cut = line.rindex(", ", 0, WIDTH - len(indent)) + 1
        found.append(indent + line[:cut])
        line, indent, more = line[cut + 1 :], indent + more, ""
    return [*found, (indent + line).rstrip()]
