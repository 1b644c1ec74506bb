"""The covariance factor of a rank-one CMA-ES, which is never formed while that is dearer.

After T updates the factor is a multiple of a diagonal plus T outer products, and so is its
inverse. Multiplying m rows with it costs ``2 m T k`` multiply-adds instead of ``m k²``, and it
takes ``2 T k`` numbers instead of ``k²``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.utils.optimizers.arguments import FloatArray
from core.utils.optimizers.state import array_entry

#: Multiply-adds up to which OpenBLAS computes a product of matrices in one thread.
ONE_THREAD = 2**18

#: Up to this rank products are cut into pieces of one thread each: waiting for other threads would
#: cost more than they save, and ten times more on a machine that does other work.
THIN_RANK = 128

#: Outer products in one piece, and most rows: 4,096 columns of them stay in a core's cache.
STRIP, CACHED_ROWS = 16, 8


@dataclass(frozen=True, eq=False)
class DiagonalPlusOuter:
    """The square matrix ``scale · (diag(diagonal) + leftᵀ right)``, used like an array with ``@``.

    Attributes
    ----------
    diagonal : numpy.ndarray, shape (k,)
    left, right : numpy.ndarray, shape (rank, k)
        The columns and rows of the outer products.
    scale : float
    """

    diagonal: FloatArray
    left: FloatArray
    right: FloatArray
    scale: float = 1.0

    __array_ufunc__ = None  # numpy leaves array @ self to __rmatmul__

    @classmethod
    def of(cls, diagonal: FloatArray) -> DiagonalPlusOuter:
        """Return a diagonal matrix."""
        nothing = np.empty((0, len(diagonal)))
        return cls(diagonal, nothing, nothing)

    @property
    def rank(self) -> int:
        """Number of outer products."""
        return len(self.left)

    def __rmul__(self, factor: float) -> DiagonalPlusOuter:
        return replace(self, scale=factor * self.scale)

    def __rmatmul__(self, rows: FloatArray) -> FloatArray:
        diagonal = self.scale * self.diagonal
        return rows * diagonal + (self.scale * (rows @ self.left.T)) @ self.right

    def __matmul__(self, column: FloatArray) -> FloatArray:
        return self.scale * (self.diagonal * column + (self.right @ column) @ self.left)

    def dense(self) -> FloatArray:
        """Return the matrix as an array (k, k)."""
        matrix = self.left.T @ self.right
        matrix[np.diag_indices_from(matrix)] += self.diagonal
        matrix *= self.scale
        return matrix

    def scaled_plus_outer(
        self, factor: float, column: FloatArray, row: FloatArray
    ) -> DiagonalPlusOuter | FloatArray:
        """Return ``factor · self + columnᵀ row``, as an array from where that is cheaper.

        Rows times this matrix cost ``2 rank k`` multiply-adds a row, rows times an array ``k²``:
        the array is cheaper when the rank exceeds ``k / 2``.
        """
        scale = factor * self.scale
        left = np.vstack([self.left, column / scale])
        matrix = DiagonalPlusOuter(self.diagonal, left, np.vstack([self.right, row]), scale)
        return matrix.dense() if 2 * matrix.rank > len(self.diagonal) else matrix


Matrix = DiagonalPlusOuter | FloatArray


def samples(
    A: Matrix,
    sigma: float,
    mean: FloatArray,
    normals: FloatArray,
    draw: Callable[[FloatArray], object],
    rows: NDArray[Any],
) -> None:
    """Write ``mean + sigma · z A`` into `rows`.

    Parameters
    ----------
    A : matrix, shape (k, k)
    sigma : float
    mean : numpy.ndarray, shape (k,)
    normals : numpy.ndarray, shape (n, k)
        The rows z.
    draw : callable
        Called with blocks of rows of `normals`, in their order, before each is used: what it fills
        in is then still in a core's cache.
    rows : numpy.ndarray, shape (n, k)
        Overwritten; rounded to its precision.
    """
    if not isinstance(A, DiagonalPlusOuter) or A.rank > THIN_RANK:
        draw(normals)
        rows[:] = normals @ (sigma * A) + mean
        return
    step = sigma * A.scale
    scales, left, strips = step * A.diagonal, step * A.left, _cut(A.rank, STRIP)
    in_one_thread = ONE_THREAD // (len(mean) * min(max(A.rank, 1), STRIP))
    for block in _cut(len(rows), min(max(in_one_thread, 1), CACHED_ROWS)):
        z = normals[block]
        draw(z)
        x = z * scales
        for strip in strips:
            x += (left[strip] @ z.T).T @ A.right[strip]
        x += mean
        rows[block] = x


def _cut(length: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, length, step)]


def rank_one_update(A: Matrix, Ainv: Matrix, path: FloatArray, c1: float) -> tuple[Matrix, Matrix]:
    """Return the factor of ``(1 - c1) AᵀA + c1 pathᵀpath`` and its inverse.

    The update of Suttorp, Hansen & Igel (2009, Machine Learning 75), in the row convention:
    samples are ``z A``.

    Parameters
    ----------
    A, Ainv : matrix, shape (k, k)
        The factor and its inverse; arrays are updated in place.
    path : numpy.ndarray, shape (k,)
        The evolution path, in the space of the samples; not zero.
    c1 : float
        Learning rate, between 0 and 1.

    Returns
    -------
    A, Ainv : matrix, shape (k, k)
    """
    v = path @ Ainv
    n = v @ v
    q = np.sqrt(1 + n * c1 / (1 - c1))
    shrink = np.sqrt(1 - c1)
    inverse_column = Ainv @ v
    # A ← a A + a/n (q-1) vᵀ path;  A⁻¹ ← A⁻¹/a - 1/(a n) (1-1/q) A⁻¹ vᵀ v;  a = sqrt(1-c1)
    return (
        _scaled_plus_outer(A, shrink, v * (shrink * (q - 1) / n), path),
        _scaled_plus_outer(Ainv, 1 / shrink, inverse_column * ((1 / q - 1) / (shrink * n)), v),
    )


def _scaled_plus_outer(
    matrix: Matrix, factor: float, column: FloatArray, row: FloatArray
) -> Matrix:
    if isinstance(matrix, DiagonalPlusOuter):
        return matrix.scaled_plus_outer(factor, column, row)
    matrix *= factor
    matrix += np.outer(column, row)
    return matrix


def as_array(matrix: Matrix) -> FloatArray:
    """Return a matrix as a new array (k, k)."""
    return matrix.dense() if isinstance(matrix, DiagonalPlusOuter) else matrix.copy()


def matrix_state(matrix: Matrix, name: str) -> dict[str, Any]:
    """Return what a saved state holds of a matrix; the diagonal belongs to the settings."""
    if isinstance(matrix, DiagonalPlusOuter):
        left, right = matrix.left.copy(), matrix.right.copy()
        parts = {"scale": matrix.scale, "left": left, "right": right}
    else:
        parts = {"dense": matrix.copy()}
    return {f"{name}.{part}": value for part, value in parts.items()}


def matrix_from_state(state: Mapping[str, Any], name: str, diagonal: FloatArray) -> Matrix:
    """Return the matrix that `matrix_state` wrote down.

    Raises
    ------
    MalformedDataError
        If entries are missing or do not fit the diagonal.
    """
    k = len(diagonal)
    if f"{name}.dense" in state:
        return array_entry(state, f"{name}.dense", (k, k))
    left = array_entry(state, f"{name}.left", (-1, k))
    right = array_entry(state, f"{name}.right", (len(left), k))
    scale = float(array_entry(state, f"{name}.scale", ()))
    return DiagonalPlusOuter(diagonal, left, right, scale)
