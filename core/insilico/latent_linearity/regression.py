"""How much of a unit's variance a latent code predicts linearly, by ridge regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from core.errors import UsageError

#: Share of the images that are left for the test, and the seed that chooses them, as published.
TEST_SHARE, SPLIT_SEED = 0.2, 42

#: A leave-one-out error and an R² need at least this many images in each part.
_FEWEST_IMAGES = 10


@dataclass(frozen=True)
class Split:
    """Images to fit on and images to test on; the same for all layers."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]

    @classmethod
    def of(cls, n_images: int) -> Split:
        """Split as published; `UsageError` if there are too few images."""
        if n_images < _FEWEST_IMAGES:
            raise UsageError(
                f"{n_images} codes are too few for a regression; give {_FEWEST_IMAGES} or more."
            )
        train, test = train_test_split(
            np.arange(n_images), test_size=TEST_SHARE, random_state=SPLIT_SEED
        )
        return cls(train, test)


def r2_by_unit(
    features: Mapping[str, NDArray[np.floating]],
    responses: NDArray[np.floating],
    alphas: ArrayLike,
    split: Split,
) -> dict[str, NDArray[np.float64]]:
    """Predict all units of a layer from several sets of features.

    Each unit has its own penalty, the one with the least leave-one-out error; all units of the
    layer share one decomposition of the features (scikit-learn's `RidgeCV`).

    Parameters
    ----------
    features : mapping of str to numpy.ndarray
        Name of a metric, such as ``"R2_class"`` → (n_images, n_features).
    responses : numpy.ndarray, shape (n_images, n_units)
        Activations.
    alphas : array_like of float
        Penalties to choose from.
    split : Split
        What to fit on, and what to test on.

    Returns
    -------
    dict of str to numpy.ndarray
        ``Train_`` and ``Test_`` of each metric → (n_units,). A unit that never changes counts as
        predicted, R² = 1, as scikit-learn has it.
    """
    live = np.ptp(responses, axis=0) > 0
    scores = {
        f"{part}_{metric}": np.ones(len(live)) for metric in features for part in ("Train", "Test")
    }
    for metric, values in features.items() if live.any() else ():
        model = RidgeCV(alphas=alphas, alpha_per_target=True)
        model.fit(values[split.train], responses[split.train][:, live])
        for part, rows in (("Train", split.train), ("Test", split.test)):
            predicted = model.predict(values[rows]).reshape(len(rows), -1)
            scores[f"{part}_{metric}"][live] = r2_score(
                responses[rows][:, live], predicted, multioutput="raw_values"
            )
    return scores
