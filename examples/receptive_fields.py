"""Receptive fields of units of a trained network, beside those of an untrained twin.

``python -m examples.receptive_fields --output DIR`` maps central units of four layers of
EfficientNet-Lite0 (ImageNet) by gradients, boxes them and fits Gaussians. Each box is tested: what
lies outside it is replaced by grey, and what lies inside it, in images of a Fourier space; the
first should change the response little, the second much.

It writes ``receptive_fields.png``, ``table.csv`` and ``table.md``.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("examples.receptive_fields"))

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from core.command_line import a_path, command_parser, require_writable
from core.errors import exit_code_of
from core.files import atomic_write
from core.utils import FourierSpace, TorchScorer, fit_2dgauss, grad_RF_estimate, gradmap2RF_square
from core.utils.grad_RF_estim import twoD_Gaussian
from examples.trained_units import NETWORK, write_text

#: Layers from early to late, and how many of their channels are mapped (evenly spread).
LAYERS, CHANNELS = ("blocks.1", "blocks.2", "blocks.3", "blocks.5"), 3

#: Side of the network's input, pixels: smaller than the 224 that it was trained on, for speed.
PIXELS = 128

#: A box holds what is above this share of a map's maximum.
THRESHOLD = 0.1

#: Random images of a map; images that test a box.
REPS, TESTS = 40, 40

TWIN = "untrained twin"


@dataclass(frozen=True)
class MappedUnit:
    """A unit and its receptive field.

    Attributes
    ----------
    network, layer : str
    channel : int
    gradients : numpy.ndarray, shape (PIXELS, PIXELS)
    columns, rows : tuple of int
        Of the box, half-open.
    fit : mapping
        See `core.utils.fit_2dgauss`.
    outside, inside : float
        Standard deviation of the change of the response when what lies outside, or inside, the box
        becomes grey, as a share of that of the response over images; NaN if the box is the image.
    """

    network: str
    layer: str
    channel: int
    gradients: NDArray[np.float64]
    columns: tuple[int, int]
    rows: tuple[int, int]
    fit: Any
    outside: float
    inside: float

    @property
    def side(self) -> int:
        """Of the box, pixels."""
        return self.columns[1] - self.columns[0]

    @property
    def sigma(self) -> float:
        """Geometric mean of the Gaussian's standard deviations, pixels."""
        return float(np.sqrt(self.fit["sigma_x"] * self.fit["sigma_y"]))


def run(
    output: str | Path, channels: int = CHANNELS, reps: int = REPS, device: str = "cpu"
) -> pd.DataFrame:
    """Map all units, test their boxes, draw them.

    Parameters
    ----------
    output : path-like
        Folder of what is written.
    channels : int, default 3
        Of each layer; the twin's first.
    reps : int, default 40
        Images of noise for each map.
    device : str, default "cpu"

    Returns
    -------
    pandas.DataFrame
        One row per unit.
    """
    trained = TorchScorer(NETWORK, device=device, imgpix=PIXELS)
    twin = TorchScorer(NETWORK, device=device, imgpix=PIXELS, pretrained=False)
    units = []
    for layer in LAYERS:
        n_channels = trained.layer(layer).channels
        chosen = np.linspace(0, n_channels, channels, endpoint=False).astype(int).tolist()
        units += [_mapped(trained, "trained", layer, channel, reps) for channel in chosen]
        units.append(_mapped(twin, TWIN, layer, chosen[0], reps))
    table = pd.DataFrame(
        {
            "layer": unit.layer,
            "network": unit.network,
            "channel": unit.channel,
            "box (px)": unit.side,
            "Gaussian SD (px)": unit.sigma,
            "outside": unit.outside,
            "inside": unit.inside,
        }
        for unit in units
    )
    write_text(Path(output) / "table.csv", table.to_csv(index=False))
    write_text(Path(output) / "table.md", as_markdown(table))
    _draw(Path(output) / "receptive_fields.png", units, channels + 1)
    return table


def as_markdown(table: pd.DataFrame) -> str:
    """Return medians of each layer, trained and untrained."""
    lines = [
        "| layer | network | units | box (px) | Gaussian SD (px) | outside | inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for (layer, network), group in table.groupby(["layer", "network"]):
        middle = group.drop(columns=["layer", "network", "channel"]).median()
        digits = {"box (px)": 0, "Gaussian SD (px)": 1, "outside": 2, "inside": 2}
        shown = " | ".join(
            "–" if np.isnan(middle[name]) else f"{middle[name]:.{n}f}" for name, n in digits.items()
        )
        lines.append(f"| {layer} | {network} | {len(group)} | {shown} |")
    return "\n".join(lines) + "\n"


def _mapped(
    scorer: TorchScorer, network: str, layer: str, channel: int, reps: int
) -> MappedUnit:
    unit = scorer.layer(layer).centre(channel)
    gradients = grad_RF_estimate(
        scorer.model, layer, unit, input_size=scorer.input.shape, reps=reps, seed=channel
    )
    columns, rows = gradmap2RF_square(gradients, relthresh=THRESHOLD)
    outside, inside = np.nan, np.nan
    if columns[1] - columns[0] < PIXELS:
        outside, inside = _changes(scorer, layer, unit, columns, rows)
    fit = fit_2dgauss(gradients)
    return MappedUnit(network, layer, channel, gradients, columns, rows, fit, outside, inside)


def _changes(
    scorer: TorchScorer,
    layer: str,
    unit: Any,
    columns: tuple[int, int],
    rows: tuple[int, int],
) -> tuple[float, float]:
    """Return how much a response changes by grey outside, and inside, of a box."""
    space = FourierSpace(PIXELS, 16)
    images = space.visualize(space.sample_vector(TESTS, seed=0)).to(scorer.device)
    kept = torch.zeros_like(images[:1, :1])
    kept[..., slice(*rows), slice(*columns)] = 1
    scorer.cleanup()
    scorer.set_unit("score", layer, unit)
    whole, within, around = (
        scorer.score_tsr(shown)
        for shown in (images, images * kept + 0.5 * (1 - kept), images * (1 - kept) + 0.5 * kept)
    )
    spread = np.std(whole)
    return float(np.std(whole - within) / spread), float(np.std(whole - around) / spread)


def _draw(path: Path, units: Sequence[MappedUnit], columns: int) -> None:
    """Draw maps, a layer in a row, with boxes and the Gaussians at one and two SD."""
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(
        len(units) // columns, columns, figsize=(2 * columns, 2.2 * (len(units) // columns)),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for axes, unit in zip(grid.flat, units, strict=True):
        axes.imshow(unit.gradients, cmap="gray")
        (left, right), (top, bottom) = unit.columns, unit.rows
        axes.add_patch(
            Rectangle(
                (left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color="tab:orange"
            )
        )
        peak = {**unit.fit, "amplitude": 1.0, "offset": 0.0}
        names = ("amplitude", "xo", "yo", "sigma_x", "sigma_y", "theta", "offset")
        gaussian = twoD_Gaussian(np.indices(unit.gradients.shape), *(peak[name] for name in names))
        axes.contour(gaussian, levels=np.exp([-2.0, -0.5]), colors="tab:cyan", linewidths=0.8)
        mark = "  UNTRAINED" if unit.network == TWIN else ""
        axes.set_title(f"{unit.layer}, channel {unit.channel}{mark}", fontsize="small")
        axes.set_axis_off()
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 done, 3 a package is missing."""
    parser = command_parser(
        "python -m examples.receptive_fields",
        "Map receptive fields of a trained network's units, and test them.",
        "python -m examples.receptive_fields --output receptive_fields",
    )
    parser.add_argument("--output", required=True, type=a_path, metavar="DIR")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(arguments)

    def work() -> None:
        require_writable(given.output)
        sys.stdout.write(as_markdown(run(given.output, device=given.device)))

    return exit_code_of(work)
