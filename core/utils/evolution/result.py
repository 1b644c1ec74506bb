"""What an evolution gives back: the best image, every score, a table, pictures."""

from __future__ import annotations

import base64
import html
import io
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from core.errors import UsageError
from core.utils.evolution.stopping import FloatArray
from core.utils.evolution.threads import ONLY, CodeArray, Thread, described

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: On every picture and summary that random weights have a part in.
UNTRAINED_MARK = "UNTRAINED"

#: Pictures of a montage by default, and in a row of it.
MONTAGE_PICTURES, MONTAGE_COLUMNS = 20, 10


class EvolutionResult:
    """One finished, stopped or interrupted search.

    Attributes
    ----------
    name : str
        Of the thread.
    objective, generator, optimizer : Any
        As they were used; the optimiser stands where the search ended.
    scores : list of numpy.ndarray
        Per generation, one score per image; NaN where an image was not shown.
    codes : list of numpy.ndarray
        Per generation, (n, codelen) float32.
    stopped : str
        Why it ended: all generations, a rule of `Stop`, or interrupted.
    maximize : bool
    """

    def __init__(self, thread: Thread) -> None:
        self.name = thread.name
        self.objective, self.generator = thread.objective, thread.generator
        self.optimizer = thread.optimizer
        self.scores, self.codes = list(thread.scores), list(thread.codes)
        self.stopped, self.maximize = thread.stopped, thread.maximize
        self._best_rows = [thread.best_of(g) for g in range(len(self.scores))]

    @property
    def generations(self) -> int:
        """Generations that were scored."""
        return len(self.scores)

    @property
    def n_images(self) -> int:
        """Images that were shown or lost."""
        return sum(map(len, self.scores))

    @property
    def untrained(self) -> bool:
        """Whether generator or network are known to have random weights."""
        scorer = getattr(self.objective, "scorer", None)
        return getattr(scorer, "trained", None) is False or not self.generator.trained

    @property
    def history(self) -> pd.DataFrame:
        """One row per generation.

        Returns
        -------
        pandas.DataFrame
            ``generation`` (from 0), ``images`` (asked for), ``lost`` (not shown), ``mean``, ``sd``
            and ``best`` of its scores, ``best_so_far``; best is the lowest when minimising.
        """
        rows = []
        for generation, scores in enumerate(self.scores):
            seen = scores[np.isfinite(scores)]
            row = self._best_rows[generation]
            rows.append(
                {
                    "generation": generation,
                    "images": len(scores),
                    "lost": len(scores) - len(seen),
                    "mean": seen.mean() if len(seen) else np.nan,
                    "sd": seen.std(ddof=1) if len(seen) > 1 else np.nan,
                    "best": np.nan if row is None else scores[row],
                }
            )
        table = pd.DataFrame(rows, columns=["generation", "images", "lost", "mean", "sd", "best"])
        table["best_so_far"] = table["best"].cummax() if self.maximize else table["best"].cummin()
        return table

    @property
    def table(self) -> pd.DataFrame:
        """One row per image: ``generation``, ``image`` (its row in the generation), ``score``."""
        sizes = [len(scores) for scores in self.scores]
        return pd.DataFrame(
            {
                "generation": np.repeat(np.arange(len(sizes)), sizes),
                "image": np.concatenate([np.arange(n) for n in sizes] or [np.empty(0, int)]),
                "score": np.concatenate([*self.scores, np.empty(0)]),
            }
        )

    @property
    def best_score(self) -> float:
        """The highest score, the lowest when minimising."""
        generation, row = self._best
        return float(self.scores[generation][row])

    @property
    def best_code(self) -> CodeArray:
        """The code of the best image, (codelen,)."""
        generation, row = self._best
        return self.codes[generation][row]

    @cached_property
    def best_image(self) -> NDArray[np.float32]:
        """The best image, (height, width, 3) in 0 to 1; it is made once."""
        return self._images(self.best_code[np.newaxis])[0]

    def montage(self, n: int = MONTAGE_PICTURES) -> Image.Image:
        """Return the best images of some generations, first to last, in one picture.

        Parameters
        ----------
        n : int, default 20
            Generations to show, evenly spread; ten in a row.
        """
        from core.utils.plot_utils import to_imgrid

        shown = [g for g, row in enumerate(self._best_rows) if row is not None]
        chosen = np.unique(np.linspace(0, len(shown) - 1, min(n, len(shown))).round().astype(int))
        rows = [(shown[i], self._best_rows[shown[i]]) for i in chosen]
        codes = np.stack([self.codes[g][row] for g, row in rows])
        images = np.stack(self._images(codes)).transpose(0, 3, 1, 2)
        import torch

        return to_imgrid(torch.from_numpy(images), nrow=MONTAGE_COLUMNS, padding=2)

    def plot(self, ax: Axes | None = None, *, by: str = "generation", **line: Any) -> Axes:
        """Draw mean, standard deviation and best score against generations or images.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; the current axes by default.
        by : {"generation", "images"}
            What the axis counts.
        **line
            For the line of the mean, such as ``color`` and ``label``.
        """
        from matplotlib import pyplot as plt

        ax = ax or plt.gca()
        table = self.history
        if by not in ("generation", "images"):
            raise UsageError(f"by is {by!r}; give 'generation' or 'images'.")
        x = table["generation"] if by == "generation" else table["images"].cumsum()
        label = "mean ± SD" if self.name == ONLY else self.name
        (mean,) = ax.plot(x, table["mean"], **{"label": label, **line})
        low, high = table["mean"] - table["sd"], table["mean"] + table["sd"]
        ax.fill_between(x, low, high, color=mean.get_color(), alpha=0.25, linewidth=0)
        ax.plot(x, table["best_so_far"], color=mean.get_color(), linestyle=":", linewidth=1)
        ax.set_xlabel("generation" if by == "generation" else "images shown")
        ax.set_ylabel("score")
        if self.untrained:
            ax.set_title(UNTRAINED_MARK, loc="right", fontsize="small", color="firebrick")
        return ax

    def __repr__(self) -> str:
        if not self.scores:
            return f"evolution {self.name}: nothing was scored ({self.stopped})"
        last = self.history["mean"].iloc[-1]
        mark = f", {UNTRAINED_MARK}" if self.untrained else ""
        name = "" if self.name == ONLY else f"{self.name} "
        return (
            f"evolution {name}of {described(self.objective)}: {self.generations} generations, "
            f"{self.n_images} images, best {self.best_score:.4g}, last mean {last:.4g} "
            f"({self.stopped or 'going on'}{mark})"
        )

    def _repr_html_(self) -> str:
        """Show the summary and the best image in a notebook."""
        text = f"<p>{html.escape(repr(self))}</p>"
        if not self.scores:
            return text
        buffer = io.BytesIO()
        picture = Image.fromarray((self.best_image * 255).round().astype(np.uint8))
        picture.save(buffer, "PNG")
        encoded = base64.b64encode(buffer.getvalue()).decode()
        return f'{text}<img alt="best image" src="data:image/png;base64,{encoded}"/>'

    @property
    def _best(self) -> tuple[int, int]:
        sign = 1 if self.maximize else -1
        candidates = [
            (sign * self.scores[g][row], -g, row)
            for g, row in enumerate(self._best_rows)
            if row is not None
        ]
        if not candidates:
            raise UsageError("nothing was scored yet; there is no best image.")
        _, generation, row = max(candidates)
        return -generation, row

    def _images(self, codes: CodeArray) -> list[NDArray[np.float32]]:
        import torch

        with torch.no_grad():
            images = self.generator.visualize(torch.from_numpy(codes)).cpu()
        return list(images.permute(0, 2, 3, 1).float().numpy())


def first_and_last(result: EvolutionResult) -> tuple[FloatArray, FloatArray]:
    """Return the scores of the first two and the last two generations, without lost ones.

    The paper compares these blocks (Methods, success of an evolution).
    """
    first, last = np.concatenate(result.scores[:2]), np.concatenate(result.scores[-2:])
    return first[np.isfinite(first)], last[np.isfinite(last)]
