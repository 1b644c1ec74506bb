"""Draw how the scores, and the norms of the codes, went over the generations of an evolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from core.errors import UsageError
from core.utils.published_keywords import published_keywords

#: A code of BigGAN: 128 dimensions of noise, then 128 of the class.
BIGGAN_DIMENSIONS, BIGGAN_NOISE = 256, 128


@published_keywords(scores_all="scores")
def visualize_trajectory(
    scores: ArrayLike,
    generations: ArrayLike,
    codes_arr: ArrayLike | None = None,
    show: bool = False,
    title_str: str = "",
) -> Figure:
    """Draw each score, their mean and maximum per generation, and the mean norm of the codes.

    Parameters
    ----------
    scores : array, n values
    generations : array, n values
        The generation of each score.
    codes_arr : array, shape (n, d), optional
        Codes: for BigGAN (d = 256) the norms of noise and class are drawn apart, otherwise the norm
        of the whole code, on an axis to the right.
    show : bool, default False
        Open a window.
    title_str : str
        Put into the title.

    Returns
    -------
    matplotlib.figure.Figure
        Its caller closes it.

    Raises
    ------
    UsageError
        If the lengths differ, or there is nothing to draw.
    """
    score, generation = np.ravel(np.asarray(scores, float)), np.ravel(np.asarray(generations))
    codes = np.empty((len(score), 0)) if codes_arr is None else np.asarray(codes_arr, float)
    if not 0 < len(score) == len(generation) == len(codes):
        raise UsageError(
            f"{len(score)} scores, {len(generation)} generations and {len(codes)} codes were "
            "given; give as many of each, and at least one."
        )
    shown, member = np.unique(generation, return_inverse=True)
    figure, axes = plt.subplots()
    lines: list[Artist] = [
        axes.scatter(generation, score, s=16, alpha=0.6, color="grey", label="all"),
        *axes.plot(shown, _per_group(np.mean, score, member), label="mean"),
        *axes.plot(shown, _per_group(np.max, score, member), label="max"),
    ]
    axes.set(xlabel="generation", ylabel="score")
    axes.set_title(f"Optimisation trajectory {title_str}".strip())
    if codes_arr is not None:
        lines += _draw_norms(axes.twinx(), shown, codes, member)
    axes.legend(handles=lines)
    if show:
        plt.show()
    return figure


def _draw_norms(
    axes: Axes, shown: NDArray[Any], codes: NDArray[Any], member: NDArray[Any]
) -> list[Line2D]:
    parts = {"norm": codes}
    if codes.shape[1] == BIGGAN_DIMENSIONS:
        parts = {"noise norm": codes[:, :BIGGAN_NOISE], "class norm": codes[:, BIGGAN_NOISE:]}
    lines: list[Line2D] = []
    for number, (label, part) in enumerate(parts.items()):
        norms = _per_group(np.mean, np.linalg.norm(part, axis=1), member)
        lines += axes.plot(shown, norms, linestyle="--", color=f"C{2 + number}", label=label)
    axes.set_ylabel("norm of the codes")
    return lines


def _per_group(
    statistic: Callable[[NDArray[Any]], float], values: NDArray[Any], member: NDArray[Any]
) -> NDArray[Any]:
    return np.array([statistic(values[member == group]) for group in range(member.max() + 1)])
