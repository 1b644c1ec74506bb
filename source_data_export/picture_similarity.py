"""``python -m source_data_export.picture_similarity``: which best pictures look alike.

Adds a table to those of the block means, which FigureMore1 draws beside the differences of the
responses.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("source_data_export.picture_similarity"))

from functools import partial
from pathlib import Path

from core.command_line import a_path, command_parser
from core.errors import exit_code_of
from core.progress import progress
from core.source_tables.block_means import data_files, kept_archive
from core.source_tables.reader import DEFAULT_FOLDER, write_table
from core.utils.scoring.perception import load_network
from core.utils.weights.fetch import locate
from neuro_data_analysis.block_means.tables import BlockMeans
from neuro_data_analysis.similarity.best_pictures import (
    best_picture_table,
    layer_before_classifier,
)
from source_data_export.block_means import CACHE_FILE, ensure_block_means

#: The network of Figure 3, and one whose weights come with a package.
PAPER_NETWORK, PACKAGED_NETWORK = "resnet50_linf8", "efficientnet_lite0"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 2 usage, 3 no block means, no pictures or no weights."""
    parser = command_parser(
        "python -m source_data_export.picture_similarity",
        "Compare the best pictures of both threads of all published evolutions by a network.",
        "python -m source_data_export.picture_similarity --network efficientnet_lite0",
        "python -m figure_reproduction --figure FigureMore1",
    )
    parser.add_argument(
        "--network", metavar="NAME",
        help=f"any trained network of torchvision, timm or the paper; default {PAPER_NETWORK} "
        f"where its weights are, else {PACKAGED_NETWORK}",
    )  # fmt: skip
    parser.add_argument(
        "--layer", metavar="NAME", help="default: the one before the classifier"
    )
    parser.add_argument(
        "--weights", type=a_path, metavar="FILE", help="a state dict instead of the published one"
    )
    parser.add_argument("--source-data", type=a_path, default=DEFAULT_FOLDER, metavar="DIR")
    given = parser.parse_args(arguments)
    network = given.network or (PAPER_NETWORK if locate(PAPER_NETWORK) else PACKAGED_NETWORK)
    return exit_code_of(
        lambda: _run(given.source_data, network, given.layer, given.weights)
    )


def _run(source_data: Path, name: str, layer: str | None, weights: Path | None) -> None:
    folder = ensure_block_means(source_data)
    network = load_network(name, weights)
    layer = layer or layer_before_classifier(network.module)
    archive = kept_archive(source_data)
    means = BlockMeans.read(archive, folder / CACHE_FILE)
    told = partial(progress, what="comparing pictures", unit="experiments")
    with data_files(archive) as files:
        table = best_picture_table(files, means.evolutions, network, layer, told)
    path = write_table(folder, "Evolutions/picture_similarity", table)
    sys.stdout.write(
        f"{name}, {layer}: {table['cosine'].count()} of {len(table)} experiments, median cosine "
        f"{table['cosine'].median():.3f}\n{path}\n"
    )
