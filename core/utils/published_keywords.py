"""Arguments that the published code calls otherwise are accepted under those names too."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from core.errors import UsageError

_P = ParamSpec("_P")
_R = TypeVar("_R")


def published_keywords(**ours: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Let a function take keyword arguments by the names of the published code.

    Parameters
    ----------
    **ours : str
        Published name → name of the parameter.

    Raises
    ------
    UsageError
        By the function, if a call names an argument both ways.

    Examples
    --------
    >>> @published_keywords(target_unit="unit")
    ... def response(unit):
    ...     return unit
    >>> response(target_unit=3)
    3
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            named: dict[str, Any] = kwargs
            for published in ours.keys() & named.keys():
                if ours[published] in named:
                    raise UsageError(
                        f"{published}= and {ours[published]}= are one argument; give one of them."
                    )
                named[ours[published]] = named.pop(published)
            return function(*args, **named)

        return call

    return decorate
