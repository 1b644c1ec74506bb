"""Tables of real data from the block means that the authors publish."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from core.errors import MissingDataError
from core.files import locked, read_json, sha256_of, write_json
from core.progress import progress
from core.source_tables.block_means import FIGURES_MADE, kept_archive
from core.source_tables.reader import write_tables
from core.versions import PROJECT, software_versions
from neuro_data_analysis.block_means.tables import BlockMeans

logger = logging.getLogger(__name__)

#: Folders that block means have tables for.
EXPORTED = (*FIGURES_MADE, "Tables")

#: Says that the tables beside the kept archive are complete, and what they were made of.
_READY_FILE = "tables.json"

#: Spikes and numbers of images, once decoded.
CACHE_FILE = "decoded.npz"


def ensure_block_means(folder: str | Path) -> Path:
    """Make the tables of the block means that were fetched into a folder, unless they are there.

    Parameters
    ----------
    folder : path-like
        The source-data folder.

    Returns
    -------
    pathlib.Path
        The folder that holds ``Fig2``, ``Fig4``, … made from the block means.

    Raises
    ------
    MissingDataError
        If no block means were fetched.
    MalformedDataError
        If they are damaged.
    CannotWriteError
        If the folder cannot be written.
    """
    archive = kept_archive(folder)
    if not archive.is_file():
        raise MissingDataError(
            f"{archive} does not exist; `python -m core.source_data fetch` brings it."
        )
    output, wanted = archive.parent, _made_of(archive)
    if _note(output) == wanted:
        return output
    with locked(output):
        if _note(output) != wanted:  # else another process made them while we waited
            logger.info("making tables of the block means in %s", output)
            (output / _READY_FILE).unlink(missing_ok=True)
            export_block_means(archive, output, cache=output / CACHE_FILE)
            write_json(output / _READY_FILE, wanted)
    return output


def export_block_means(
    archive: str | Path,
    output: str | Path,
    figures: Iterable[str] | None = None,
    force: bool = False,
    cache: Path | None = None,
) -> dict[str, list[Path]]:
    """Make tables of published block means.

    Parameters
    ----------
    archive : path-like
        Archive, unpacked folder or clone of the authors' repository.
    output : path-like
        Where ``Fig2``, ``Fig4``, … are made.
    figures : iterable of str, optional
        Folders to make, of `EXPORTED`; all by default.
    force : bool, default False
        Whether tables of another origin may be replaced.
    cache : pathlib.Path, optional
        Keeps what was decoded.

    Returns
    -------
    dict of str to list of pathlib.Path
        Folder → files.
    """
    means = BlockMeans.read(
        archive, cache, lambda expis: progress(expis, "reading block means", "experiments")
    )
    written = {}
    for figure in EXPORTED if figures is None else figures:
        tables = progress(means.tables(figure), figure, "tables")
        written[figure] = write_tables(output, figure, tables, means.provenance(figure), force)
    return written


def _made_of(archive: Path) -> dict[str, str]:
    return {
        "software": f"{PROJECT} {software_versions()[PROJECT]}",
        "archive": sha256_of(archive),
    }


def _note(output: Path) -> dict[str, str] | None:
    try:
        return read_json(output / _READY_FILE)
    except (OSError, ValueError):
        return None
