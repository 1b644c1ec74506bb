"""Lines, great circles and norms in latent space.

Codes are rows: one code has shape (N,) or (1, N), several (n, N). All functions take array-likes
and return new float64 arrays; those that end in ``_torch`` take and return tensors, on their device
and differentiable. Angles are in radians.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError
from core.published_names import door

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float64]

#: Two directions closer than this (radians) to opposite ones have no great circle of their own.
ANTIPODAL_TOLERANCE = 1e-8


def ang_dist(V1: ArrayLike, V2: ArrayLike) -> FloatArray:
    """Angles between the rows of two arrays.

    Parameters
    ----------
    V1, V2 : array-like, shapes (n1, N) and (n2, N)
        A single vector counts as one row.

    Returns
    -------
    numpy.ndarray, shape (n1, n2)
        From 0 to π. Angles below 1e-7 are not resolved (rounding of the cosine).

    Raises
    ------
    UsageError
        If rows are of different length, or one is zero.

    Examples
    --------
    >>> ang_dist([[1, 0]], [[2, 0], [0, 1]]).round(3)
    array([[0.   , 1.571]])
    """
    first, second = np.atleast_2d(_codes(V1, "V1")), np.atleast_2d(_codes(V2, "V2"))
    _require_same_length(first, second)
    cosines = _directions(first, "V1") @ _directions(second, "V2").T
    return np.arccos(cosines.clip(-1, 1))


def slerp(start: ArrayLike, end: ArrayLike, fraction: ArrayLike) -> FloatArray:
    """Go along the great circle from one code to another, and beyond.

    With T the angle between them, ``(sin((1-f)T) start + sin(fT) end) / sin T``: fraction 0 is
    `start`, 1 is `end`, 1.5 half as far again. The norm is constant where both have the same.

    Parameters
    ----------
    start, end : array-like, shape (N,) or (1, N)
    fraction : float or array-like, shape (k,)

    Returns
    -------
    numpy.ndarray
        Shape (N,) for one fraction, (k, N) for several.

    Raises
    ------
    UsageError
        If the codes differ in length, one is zero, or they are opposite (every great circle
        through one goes through the other).

    Examples
    --------
    >>> slerp([1, 0], [0, 1], 0.5).round(3)
    array([0.707, 0.707])
    """
    c1, c2 = _two_codes(start=start, end=end)
    f = np.asarray(fraction, dtype=np.float64)[..., np.newaxis]
    T = _angle(c1, c2)
    if np.pi - T < ANTIPODAL_TOLERANCE:
        raise UsageError("start and end are opposite; no great circle is singled out by them.")
    if T == 0:
        return (1 - f) * c1 + f * c2  # the limit
    return (np.sin((1 - f) * T) * c1 + np.sin(f * T) * c2) / np.sin(T)


def SLERP(
    c1: ArrayLike, c2: ArrayLike, steps: int, lim: tuple[float, float] = (0, 1)
) -> FloatArray:
    """Walk the published great-circle path, whose norms are scaled by the sine of the angle.

    ``sin(T - t) c1 + sin(t) c2`` for ``t = T · linspace(*lim, steps)``, not divided by ``sin T``:
    it starts at ``sin(T) c1``. `slerp` is the path that starts at `c1`.

    Parameters
    ----------
    c1, c2 : array-like, shape (N,) or (1, N)
    steps : int
        Number of points.
    lim : (float, float), default (0, 1)
        Fractions of the way where the path begins and ends; below 0 and above 1 it goes beyond.

    Returns
    -------
    numpy.ndarray, shape (steps, N)

    Raises
    ------
    UsageError
        If the codes differ in length or one is zero, or `steps` is not a positive whole number.
    """
    start, end = _two_codes(c1=c1, c2=c2)
    T = _angle(start, end)
    t = T * _fractions(steps, lim)
    return np.sin(T - t) * start + np.sin(t) * end


def LERP(c1: ArrayLike, c2: ArrayLike, steps: int, lim: tuple[float, float] = (0, 1)) -> FloatArray:
    """Walk the straight path ``(1 - t) c1 + t c2``; arguments, result and errors as for `SLERP`.

    Examples
    --------
    >>> LERP([0, 2], [1, 0], 3)
    array([[0. , 2. ],
           [0.5, 1. ],
           [1. , 0. ]])
    """
    start, end = _two_codes(c1=c1, c2=c2)
    t = _fractions(steps, lim)
    return (1 - t) * start + t * end


def SLERP_torch(
    c1: torch.Tensor, c2: torch.Tensor, steps: int, lim: tuple[float, float] = (0, 1)
) -> torch.Tensor:
    """`SLERP` of tensors; shape (steps, N), on the device and of the type of `c1`."""
    import torch

    start, end, fractions = _tensors(c1, c2, steps, lim)
    u, v = start / start.norm(), end / end.norm()
    T = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    return torch.sin(T * (1 - fractions)) * start + torch.sin(T * fractions) * end


def LERP_torch(
    c1: torch.Tensor, c2: torch.Tensor, steps: int, lim: tuple[float, float] = (0, 1)
) -> torch.Tensor:
    """`LERP` of tensors; shape (steps, N), on the device and of the type of `c1`."""
    start, end, fractions = _tensors(c1, c2, steps, lim)
    return (1 - fractions) * start + fractions * end


def LExpMap(
    ref: ArrayLike, v: ArrayLike, steps: int, lim: tuple[float, float] = (0, 1)
) -> FloatArray:
    """Walk straight from a code along a direction, ``ref + t v`` for ``t = linspace(*lim, steps)``.

    Parameters
    ----------
    ref, v : array-like, shape (N,) or (1, N)
    steps : int
    lim : (float, float), default (0, 1)

    Returns
    -------
    numpy.ndarray, shape (steps, N)

    Raises
    ------
    UsageError
        If `ref` and `v` differ in length or `steps` is not a positive whole number.
    """
    origin, direction = _two_codes(ref=ref, v=v)
    return origin + _fractions(steps, lim) * direction


def SExpMap(
    ref: ArrayLike, v: ArrayLike, steps: int, lim: tuple[float, float] = (0, 1)
) -> FloatArray:
    """Walk the great circle from a code along a direction, with the norm of the code.

    Parameters
    ----------
    ref : array-like, shape (N,) or (1, N)
        Where the path is at t = 0.
    v : array-like, shape (N,) or (1, N)
        Direction; only its component perpendicular to `ref` counts, and not its length.
    steps : int
        Number of points.
    lim : (float, float), default (0, 1)
        Angles (radians) where the path begins and ends.

    Returns
    -------
    numpy.ndarray, shape (steps, N)

    Raises
    ------
    UsageError
        If `v` is parallel to `ref`, one is zero, or they differ in length; if `steps` is not a
        positive whole number.
    """
    origin, direction = _one_code(ref, "ref"), _one_code(v, "v")
    unit = _directions(origin, "ref")
    perpendicular = orthogonalize(origin, direction)
    if np.linalg.norm(perpendicular) <= ANTIPODAL_TOLERANCE * np.linalg.norm(direction):
        raise UsageError("v is zero or parallel to ref; it points to no great circle.")
    t = _fractions(steps, lim)
    path = np.cos(t) * unit + np.sin(t) * _directions(perpendicular, "v")
    return path * np.linalg.norm(origin)


def ExpMap(x: ArrayLike, V: ArrayLike, EPS: float = 1e-4) -> FloatArray:
    """Exponential map of the sphere through a code: walk along tangent vectors.

    Row by row, with ``a = |V|``: ``|x| (cos(a) x/|x| + sin(a) V/a)``. The length of a tangent
    vector is the angle walked; a zero vector stays at `x`.

    Parameters
    ----------
    x : array-like, shape (N,) or (1, N)
        Where the walks start.
    V : array-like, shape (n, N) or (N,)
        Vectors perpendicular to `x` (see `orthogonalize`).
    EPS : float, default 1e-4
        Cosine that `V` and `x` may have at most, for rounding.

    Returns
    -------
    numpy.ndarray, of the shape of `V`
        Codes with the norm of `x`.

    Raises
    ------
    UsageError
        If `x` is zero, lengths differ, or a row of `V` is not tangent.
    """
    origin, tangents = _one_code(x, "x"), _codes(V, "V")
    _require_same_length(origin, tangents)
    unit = _directions(origin, "x")
    angles = np.linalg.norm(tangents, axis=-1, keepdims=True)
    off_plane = np.abs(tangents @ unit) > EPS * angles[..., 0]
    if off_plane.any():
        raise UsageError(
            f"row {np.argmax(off_plane)} of V is not perpendicular to x; "
            "remove its component along x with orthogonalize(x, V)."
        )
    # numpy's sinc(a/pi) is sin(a)/a, and 1 at a = 0.
    arrived = np.cos(angles) * unit + np.sinc(angles / np.pi) * tangents
    return arrived * np.linalg.norm(origin)


def VecTransport(xo: ArrayLike, xn: ArrayLike, v: ArrayLike) -> FloatArray:
    """Carry tangent vectors along the great circle from one point of the sphere to another.

    ``v - 2 (v·s)/|s|² s`` with s the sum of the two unit vectors; exact for v tangent at `xo`.

    Parameters
    ----------
    xo, xn : array-like, shape (N,) or (1, N)
        Where from and where to; only their directions count.
    v : array-like, shape (n, N) or (N,)
        Vectors tangent at `xo`.

    Returns
    -------
    numpy.ndarray, of the shape of `v`
        Vectors tangent at `xn`, of the same lengths and mutual angles.

    Raises
    ------
    UsageError
        If one point is zero, they are opposite, or lengths differ.
    """
    start, end, vectors = _one_code(xo, "xo"), _one_code(xn, "xn"), _codes(v, "v")
    _require_same_length(start, end)
    _require_same_length(start, vectors)
    middle = _directions(start, "xo") + _directions(end, "xn")
    if np.linalg.norm(middle) <= ANTIPODAL_TOLERANCE:
        raise UsageError("xo and xn are opposite; no great circle is singled out by them.")
    return vectors - 2 * np.outer(vectors @ middle, middle).reshape(vectors.shape) / (
        middle @ middle
    )


def radial_proj(codes: ArrayLike, max_norm: ArrayLike) -> FloatArray:
    """Shorten the codes that are longer than a norm to that norm.

    Parameters
    ----------
    codes : array-like, shape (n, N) or (N,)
    max_norm : float or array-like, shape (n,)
        Infinity leaves the codes as they are.

    Returns
    -------
    numpy.ndarray, of the shape of `codes`

    Raises
    ------
    UsageError
        If a norm is negative or NaN, or their number is not 1 or n.
    """
    rows = _codes(codes, "codes")
    limits = _norms(max_norm, rows, "max_norm")
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    shrink = np.divide(limits, norms, out=np.ones_like(norms), where=norms > limits)
    return rows * shrink


def orthogonalize(basis: ArrayLike, codes: ArrayLike) -> FloatArray:
    """Remove from codes their component along one vector.

    Parameters
    ----------
    basis : array-like, shape (N,) or (1, N)
        The vector; only its direction counts.
    codes : array-like, shape (n, N) or (N,)

    Returns
    -------
    numpy.ndarray, of the shape of `codes`

    Raises
    ------
    UsageError
        If `basis` is zero or more than one vector, or lengths differ.
    """
    axis, rows = _one_code(basis, "basis"), _codes(codes, "codes")
    _require_same_length(axis, rows)
    unit = _directions(axis, "basis")
    return rows - (rows @ unit)[..., np.newaxis] * unit


def renormalize(codes: ArrayLike, norms: ArrayLike) -> FloatArray:
    """Scale codes to given norms.

    Parameters
    ----------
    codes : array-like, shape (n, N) or (N,)
    norms : float or array-like, shape (n,)

    Returns
    -------
    numpy.ndarray, of the shape of `codes`

    Raises
    ------
    UsageError
        If a code is zero, a norm negative or NaN, or their number is not 1 or n.
    """
    rows = _codes(codes, "codes")
    return _directions(rows, "codes") * _norms(norms, rows, "norms")


def _codes(given: ArrayLike, name: str) -> FloatArray:
    """Return codes as float64, one code or rows of codes as they came."""
    codes = np.asarray(given, dtype=np.float64)
    if codes.ndim not in (1, 2) or codes.shape[-1] == 0:
        raise UsageError(
            f"{name} has shape {codes.shape}; give one code (N,) or rows of codes (n, N)."
        )
    return codes


def _one_code(given: ArrayLike, name: str) -> FloatArray:
    """Return one code as (N,)."""
    codes = _codes(given, name)
    if codes.ndim == 2 and len(codes) != 1:
        raise UsageError(f"{name} has shape {codes.shape}; give one code, (N,) or (1, N).")
    return codes.reshape(-1)


def _two_codes(**given: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return two codes of the same length as (N,)."""
    first, second = (_one_code(code, name) for name, code in given.items())
    _require_same_length(first, second)
    return first, second


def _require_same_length(first: FloatArray, second: FloatArray) -> None:
    if first.shape[-1] != second.shape[-1]:
        raise UsageError(
            f"codes of length {first.shape[-1]} and {second.shape[-1]} cannot be combined; "
            "they must come from the same space."
        )


def _directions(codes: FloatArray, name: str) -> FloatArray:
    """Return codes scaled to norm 1."""
    norms = np.linalg.norm(codes, axis=-1, keepdims=True)
    if not (norms > 0).all():
        row = f"row {int(np.argmin(norms > 0))} of " if codes.ndim == 2 else ""
        raise UsageError(f"{row}{name} is zero or NaN and has no direction.")
    return codes / norms


def _angle(c1: FloatArray, c2: FloatArray) -> float:
    """Angle of two codes, accurate near 0 and π also (Kahan: half-angle from chord and sum)."""
    u, v = _directions(c1, "the first code"), _directions(c2, "the second code")
    return float(2 * np.arctan2(np.linalg.norm(u - v), np.linalg.norm(u + v)))


def _fractions(steps: int, lim: tuple[float, float]) -> FloatArray:
    """Return the points of a path as a column."""
    if steps != int(steps) or steps < 1:
        raise UsageError(
            f"steps is {steps!r}; it is the number of points, a positive whole number. "
            "For a fraction of the way use slerp."
        )
    return np.linspace(lim[0], lim[1], int(steps))[:, np.newaxis]


def _norms(given: ArrayLike, rows: FloatArray, name: str) -> FloatArray:
    """Return norms as a column that goes with the rows."""
    norms = np.asarray(given, dtype=np.float64).reshape(-1)
    if not (norms >= 0).all() or norms.size not in (1, 1 if rows.ndim == 1 else len(rows)):
        raise UsageError(
            f"{name} is {given!r} for codes of shape {rows.shape}; give one norm, or one per row, "
            "none negative."
        )
    return norms if rows.ndim == 1 else norms[:, np.newaxis]


def _tensors(
    c1: torch.Tensor, c2: torch.Tensor, steps: int, lim: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return two codes as (N,) and the points of a path as a column, all alike."""
    if c1.numel() != c1.shape[-1] or c2.numel() != c2.shape[-1] or c1.numel() != c2.numel():
        raise UsageError(
            f"c1 and c2 have shapes {tuple(c1.shape)} and {tuple(c2.shape)}; "
            "give two single codes of the same length."
        )
    return c1.reshape(-1), c2.reshape(-1), c1.new_tensor(_fractions(steps, lim))


if not TYPE_CHECKING:
    __getattr__ = door(__name__)
