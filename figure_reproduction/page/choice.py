"""Which source data a figure is drawn from: the best that are there, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import MissingDataError
from core.source_tables.block_means import FIGURES_MADE, kept_archive
from core.source_tables.provenance import read_provenance


@dataclass(frozen=True)
class Choice:
    """What a figure is drawn from.

    Attributes
    ----------
    folder : pathlib.Path
        Holds the folder of the figure's tables.
    why : str
        One phrase: what they are, and why not something better.
    """

    folder: Path
    why: str


def choose_data(source_data: Path, figure: str, simulate_missing: bool) -> Choice:
    """Choose the best source data for a figure, making tables where that is needed.

    The user's own tables (from OSF, from recordings, made by hand) come first, then tables made of
    the block means that the authors publish, then a simulation, if it is asked for.

    Parameters
    ----------
    source_data : pathlib.Path
        The user's source data.
    figure : str
        Folder of its tables, ``"Fig4"``.
    simulate_missing : bool
        Whether simulated tables, marked as such, may stand for missing ones.

    Raises
    ------
    MissingDataError
        If there are none.
    """
    tables = source_data / figure
    if tables.is_dir():
        return Choice(source_data, f"{read_provenance(tables).explanation} (in {tables})")
    archive = kept_archive(source_data)
    if figure in FIGURES_MADE and archive.is_file():
        from source_data_export.block_means import ensure_block_means

        folder = ensure_block_means(source_data)
        origin = read_provenance(folder / figure)
        return Choice(folder, f"{origin.explanation}; {tables} does not exist")
    lack = f"{tables} does not exist, and " + (
        f"neither does {archive}" if figure in FIGURES_MADE else "block means make no table of it"
    )
    if not simulate_missing:
        raise MissingDataError(
            f"{lack}. `python -m core.source_data fetch` brings real data; --simulate-missing "
            "draws simulated ones, marked as such."
        )
    from source_data_export.demonstration import ensure_demonstration

    return Choice(ensure_demonstration(source_data / "simulated"), f"simulated: {lack}")
