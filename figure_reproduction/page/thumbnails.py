"""Small copies of pictures: what the page shows; a click opens the picture as it was printed."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path

from PIL import Image

from core.files import atomic_write

FOLDER = "thumbnails"

#: Pixels, twice what a page shows, for screens of double density.
LARGEST = 1664, 1200

#: Pictures of more pixels are shown as they are; a sheet at 400 dpi has 12 million.
MOST_PIXELS = 60_000_000

_QUALITY = 82


def thumbnail(picture: Path, folder: Path, name: str = "") -> str | None:
    """Make the small copy of a picture, unless there is one that is not older.

    Parameters
    ----------
    picture : pathlib.Path
        A picture that Pillow reads.
    folder : pathlib.Path
        Of the page; copies lie in `FOLDER` below it.
    name : str, optional
        Of the copy, without an ending; by default that of the picture.

    Returns
    -------
    str or None
        Path of the copy below the folder; None where the picture is too large or cannot be read.

    Raises
    ------
    CannotWriteError
        If the copy cannot be written.
    """
    copy = folder / FOLDER / f"{name or picture.stem}.webp"
    if not copy.is_file() or copy.stat().st_mtime < picture.stat().st_mtime:
        small = _reduced(picture)
        if small is None:
            return None
        with atomic_write(copy) as unfinished:
            small.save(unfinished, format="webp", quality=_QUALITY)
    return copy.relative_to(folder).as_posix()


def _reduced(picture: Path) -> Image.Image | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(picture) as whole:
                if whole.width * whole.height > MOST_PIXELS:
                    return None
                small = whole.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning,
            Image.DecompressionBombError):  # fmt: skip
        return None
    small.thumbnail(LARGEST, Image.Resampling.LANCZOS)
    return small


def embedded(picture: Path) -> str:
    """Return a picture as the address of itself, for a page that is one file."""
    kind = {".webp": "image/webp", ".png": "image/png", ".svg": "image/svg+xml"}[picture.suffix]
    return f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
