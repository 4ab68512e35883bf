r"""Mathematical equality, by sympy: `\frac{1}{2}` is 0.5, and `(x+1)^2` is `x^2+2x+1`.

Formulas are read by Python's parser and built node by node from a table, so that nothing a completion says is run. Numbers are
compared exactly where they are rational, else to 15 of 30 digits; with unknowns, at three places. What is no formula is compared
as text.
"""

from __future__ import annotations

import ast
import cmath
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, reduce
from typing import Any

from planish.judges.verify.answers import normalized

LONGEST, LARGEST, MOST_BITS = 300, 1e300, 20_000  # letters of a formula, the largest number in it, bits of a power
PLACES = (Fraction(13, 10), Fraction(27, 17), Fraction(-9, 11))  # values of the first unknown
FUNCTIONS = ("sqrt", "sin", "cos", "tan", "log", "ln", "exp", "abs")
LATEX: tuple[tuple[str, str], ...] = (
    (r"\\left|\\right|\\[,;:! ]|\\displaystyle|\\limits|\$|\\\(|\\\)|\\\[|\\\]", ""),
    (r"\\(?:text|mathrm|mbox|textbf)\{[^{}]*\}", ""),  # units and words
    (r"\\%|%|\^\\circ|\^\{\\circ\}|°", ""),
    (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    (r"\\[dt]frac", r"\\frac"),
    (r"\\frac\s*(\d)\s*(\d)", r"((\1)/(\2))"),
    (r"\\(?:cdot|times)|×|·", "*"),
    (r"\\div|÷", "/"),
    (r"−", "-"),
    (r"\\pi|π", " pi "),
    (r"\\(sin|cos|tan|log|ln|exp)\b", r" \1"),
    (r"√(\w+)", r"sqrt(\1)"),
)
IMPLICIT = re.compile(
    r"(?<=[\d)])\s*(?=[A-Za-z(])|(?<=\))\s*(?=\d)|(?<=[A-Za-z])\s+(?=[A-Za-z(])|(?<![A-Za-z][A-Za-z])(?<=[A-Za-z])(?=\()"
)


def same_formula(one: str, other: str) -> bool:
    """True if two answers have the same value, or are the same text.

    >>> same_formula("\\\\frac{3}{4}", "0.75"), same_formula("2(x+1)", "2x + 2"), same_formula("x", "y")
    (True, True, False)
    """
    if _as_text(one) == _as_text(other):
        return True
    try:
        return _equal(parse_formula(one), parse_formula(other))
    except (ValueError, ArithmeticError, TypeError, RecursionError):
        return False


def _as_text(answer: str) -> str:
    return normalized(re.sub(r"\\text\{([^{}]*)\}", r"\1", answer))


def parse_formula(text: str) -> ast.expr:
    """The formula as Python's parser reads it. Raises ValueError for a text that is none."""
    plain = _as_python(text)
    try:
        return ast.parse(plain, mode="eval").body
    except (SyntaxError, MemoryError):
        raise ValueError(f"{text!r} is no formula") from None


def _as_python(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"more than {LONGEST} letters")
    for pattern, written in LATEX:
        text = re.sub(pattern, written, text)
    text = text.replace("\\{", "[").replace("\\}", "]")
    while found := re.search(r"\\frac\s*(?=\{)|\\sqrt\s*(?=[\[{])", text):
        text = text[: found.start()] + _unfolded(found[0].strip(), text[found.end() :])
    text = text.replace("{", "(").replace("}", ")").replace("^", "**").strip(" .")
    text = re.sub(r"^[A-Za-z]\s*=(?!=)", "", text)  # x = 5
    text = IMPLICIT.sub("*", text)
    return re.sub(rf"\b({'|'.join(FUNCTIONS)})\*\(", r"\1(", text).strip()


def _unfolded(command: str, rest: str) -> str:
    r"""\frac{a}{b} and \sqrt[n]{x} as Python writes them, with what follows."""
    if command == "\\frac":
        above, rest = _group(rest, "{}")
        below, rest = _group(rest, "{}")
        return f"(({above})/({below})){rest}"
    root, rest = _group(rest, "[]") if rest.startswith("[") else ("2", rest)
    inside, rest = _group(rest, "{}")
    return f"(({inside})**(1/({root}))){rest}"


def _group(text: str, braces: str) -> tuple[str, str]:
    """What the braces at the beginning hold, and what follows."""
    depth, text = 0, text.lstrip()
    for at, letter in enumerate(text):
        depth += (letter == braces[0]) - (letter == braces[1])
        if not depth:
            return (text[1:at], text[at + 1 :]) if at else ("", "")
    raise ValueError("a brace is not closed")


@dataclass(frozen=True, slots=True)
class Algebra:
    """Numbers of one kind, and what can be done with them. `checked` raises for a result that cannot be gone on with."""

    number: Callable[[str], Any]
    names: Mapping[str, Any]  # constants and functions
    checked: Callable[[Any], Any] = lambda value: value


def _power(base: Any, exponent: Any) -> Any:
    """A power, unless sympy would write out too many digits of it, as of 1.0001^1000000."""
    exact = getattr(base, "is_Rational", False) and getattr(exponent, "is_Rational", False)
    if exact and abs(exponent) * max(int(base.p).bit_length(), int(base.q).bit_length()) > MOST_BITS:
        raise ValueError("too many digits")
    return base**exponent


OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: _power,
}


def _finite(value: complex) -> complex:
    if not abs(value) < LARGEST:
        raise ValueError("too large a number")
    return value


# Before sympy calculates to any number of digits, complex numbers show that none is so large that it would not end.
COARSE = Algebra(
    lambda digits: complex(float(digits)),
    {
        **{name: getattr(cmath, name) for name in ("sqrt", "sin", "cos", "tan", "log", "exp", "pi", "e")},
        **{"ln": cmath.log, "abs": abs, "i": 1j},
    },
    _finite,
)


@cache
def _exact() -> Algebra:
    import sympy

    library: Any = sympy
    names = {name: getattr(library, name) for name in ("sqrt", "sin", "cos", "tan", "log", "ln", "exp", "pi")}
    return Algebra(library.Rational, {**names, "abs": library.Abs, "e": library.E, "i": library.I})


def _value(node: ast.AST, algebra: Algebra, unknowns: Mapping[str, Fraction]) -> Any:
    """The value of a formula in which unknowns have these values."""

    def inner(part: ast.AST) -> Any:
        return algebra.checked(_value(part, algebra, unknowns))

    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return algebra.number(str(value))
        case ast.Name(id=name) if name in algebra.names and name not in FUNCTIONS:
            return algebra.names[name]
        case ast.Name(id=name) if _is_unknown(name):
            parts = (algebra.number(str(unknowns[letter].numerator)) / unknowns[letter].denominator for letter in name)
            return _product(parts)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](inner(left), inner(right))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=part):
            return -inner(part) if isinstance(sign, ast.USub) else inner(part)
        case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]) if name in FUNCTIONS:
            return algebra.names[name](inner(part))
        case _:
            raise ValueError(f"{ast.unparse(node)[:40]!r} is no part of a formula")


def _product(parts: Iterable[Any]) -> Any:
    return reduce(operator.mul, parts)


def _is_unknown(name: str) -> bool:
    """A letter, or a few side by side, which are multiplied; more are a word."""
    return name.isalpha() and name.isascii() and len(name) <= 3


def _equal(one: ast.AST, other: ast.AST) -> bool:
    if isinstance(one, ast.Tuple | ast.List) or isinstance(other, ast.Tuple | ast.List):
        if not isinstance(one, ast.Tuple | ast.List) or not isinstance(other, type(one)):
            return False
        if len(one.elts) != len(other.elts):
            return False
        if isinstance(one, ast.Tuple):
            return all(map(_equal, one.elts, other.elts))
        return all(any(_equal(a, b) for b in other.elts) for a in one.elts)
    letters = sorted({letter for side in (one, other) for letter in _letters(side)})
    return all(
        _equal_at(one, other, {letter: place * (n + 1) + n for n, letter in enumerate(letters)})
        for place in (PLACES if letters else PLACES[:1])
    )


def _letters(formula: ast.AST) -> list[str]:
    names = [node.id for node in ast.walk(formula) if isinstance(node, ast.Name)]
    return [letter for name in names if name not in COARSE.names and _is_unknown(name) for letter in name]


def _equal_at(one: ast.AST, other: ast.AST, unknowns: Mapping[str, Fraction]) -> bool:
    for side in (one, other):
        _finite(_value(side, COARSE, unknowns))
    first, second = (_value(side, _exact(), unknowns) for side in (one, other))
    if first.is_Rational and second.is_Rational:
        return bool(first == second)
    near, far = complex(first.evalf(30)), complex(second.evalf(30))
    return abs(near - far) <= 1e-14 * max(1.0, abs(near), abs(far)) < LARGEST
