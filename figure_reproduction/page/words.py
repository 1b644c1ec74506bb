"""How numbers are written on figures: true minus signs, italic P, powers of ten."""

from __future__ import annotations

import math
import re

#: Smaller P values are written as powers of ten.
SMALLEST_PLAIN_P = 1e-3

_THIN_SPACE = "\N{THIN SPACE}"


def as_it_is(text: str) -> str:
    r"""Return a text of a table for a figure, on which its dollar signs begin no formula.

    >>> as_it_is("US$ 5")
    'US\\$ 5'
    """
    return re.sub(r"\\*\$", r"\\$", text)


def number(value: float, digits: int = 2) -> str:
    """Write a number with so many decimals and a true minus sign; a dash for a missing one.

    >>> number(-3.728)
    '−3.73'
    """
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def tick(value: float) -> str:
    """Write the number of a tick with as many digits as it has, and a true minus sign.

    >>> tick(-0.4), tick(-0.0)
    ('−0.4', '0')
    """
    return f"{value + 0:g}".replace("-", "−")


def p_value(p: float) -> str:
    """Write a P value with two significant digits.

    >>> p_value(0.0312)
    '$P$ = 0.031'
    >>> p_value(3.1e-4)[:9]
    '$P$ = 3.1'
    """
    if math.isnan(p):
        return "no test"
    if p >= SMALLEST_PLAIN_P:
        return f"$P$ = {p:.2g}"
    if p == 0:
        return "$P$ < 10$^{−300}$"
    mantissa, exponent = f"{p:.1e}".split("e")
    times = f"{_THIN_SPACE}×{_THIN_SPACE}"
    return f"$P$ = {mantissa}{times}10$^{{−{abs(int(exponent))}}}$"


def t_test(t: float, df: float, p: float) -> str:
    """Write a Student test in two lines.

    >>> t_test(-5.344, 36, 0.02).splitlines()
    ['$t$(36) = −5.34', '$P$ = 0.02']
    """
    if math.isnan(t):
        return "no test"
    return f"$t$({df:.0f}) = {number(t)}\n{p_value(p)}"
