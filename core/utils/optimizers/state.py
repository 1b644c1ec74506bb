"""The state of an optimiser as named arrays, numbers and strings: saved, read and compared.

Nothing is pickled. A state passes unchanged through ``numpy.savez`` and back.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MalformedDataError, MissingDataError, UsageError
from core.reading.array_files import read_arrays
from core.utils.optimizers.arguments import FloatArray, RandomSource

#: Beyond it, doubles do not hold every whole number.
_LARGEST_COUNT = 2**53


def read_state(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read a file of `write_arrays`; every entry is an array.

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If it is not an .npz file of plain arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no saved optimiser at {path}; give a file of save_state.")
    try:
        return read_arrays(path)
    except ValueError as error:
        raise MalformedDataError(
            f"{path} is not a saved optimiser ({error}); give a file of save_state."
        ) from error


def entry(state: Mapping[str, Any], key: str) -> Any:
    """Return one entry.

    Raises
    ------
    MalformedDataError
        If there is none of this name.
    """
    if key not in state:
        raise MalformedDataError(
            f"the saved optimiser has no entry {key!r}; give a state of state_dict or save_state."
        )
    return state[key]


def of_prefix(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries under a prefix, without it."""
    return {key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)}


def array_entry(state: Mapping[str, Any], key: str, *shapes: tuple[int, ...]) -> FloatArray:
    """Return a copy of one array; -1 in a shape stands for any length.

    Raises
    ------
    MalformedDataError
        If it is missing, fits none of the shapes, or does not hold real numbers.
    """
    array = np.asarray(entry(state, key))
    fits = any(
        len(shape) == array.ndim
        and all(want in (-1, got) for want, got in zip(shape, array.shape, strict=True))
        for shape in shapes
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = " or ".join(map(str, shapes))
        raise MalformedDataError(
            f"entry {key!r} of the saved optimiser is {array.dtype} of shape {array.shape}; "
            f"needed are numbers of shape {wanted}."
        )
    return np.array(array, dtype=np.float64)


def count_entry(state: Mapping[str, Any], key: str) -> int:
    """Return one counter.

    Raises
    ------
    MalformedDataError
        If it is missing, or no whole number from -1, before the first, on.
    """
    number = array_entry(state, key, ())
    require_counts(key, number)
    return int(number)


def require_counts(key: str, numbers: FloatArray) -> None:
    """Refuse what are no counters: `MalformedDataError`."""
    fit = (numbers == np.floor(numbers)) & (numbers >= -1) & (numbers < _LARGEST_COUNT)
    if not fit.all():
        odd = numbers[~fit].ravel()[0]
        raise MalformedDataError(
            f"entry {key!r} of the saved optimiser holds {odd}; needed are whole numbers."
        )


def settings_entry(settings: Mapping[str, Any]) -> str:
    """Write settings down as the string that a state holds of them."""
    return json.dumps(settings, sort_keys=True)


def require_settings(state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Compare the settings of the saved optimiser with those of the one that takes over.

    Raises
    ------
    UsageError
        Naming every setting that differs.
    MalformedDataError
        If the state holds no settings.
    """
    try:
        saved = dict(json.loads(str(entry(state, "settings"))))
    except (ValueError, TypeError) as error:
        raise MalformedDataError(
            f"the settings of the saved optimiser are unreadable: {error}"
        ) from error
    current = json.loads(settings_entry(settings))
    differing = [
        f"{name} was {saved.get(name)!r} and is {current.get(name)!r}"
        for name in sorted({*saved, *current})
        if saved.get(name) != current.get(name)
    ]
    if differing:
        raise UsageError(
            f"the saved optimiser had other settings: {'; '.join(differing)}. "
            "Make this one with the settings of the saved one."
        )


def checksum(*arrays: FloatArray) -> str:
    """Return the SHA-256 of the bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def random_entry(source: RandomSource, position: Mapping[str, Any] | None = None) -> str:
    """Write down where a stream of random numbers is, or was: an earlier `position_of` it."""
    where = position_of(source) if position is None else position
    return json.dumps({"kind": type(source).__name__, "state": _plain(where)})


def restore_random(source: RandomSource, state: Mapping[str, Any], key: str = "random") -> None:
    """Set a stream of random numbers to where the saved one was, by an entry of `random_entry`.

    Raises
    ------
    UsageError
        If the saved run drew from another kind of generator.
    MalformedDataError
        If the entry cannot be read.
    """
    try:
        saved = json.loads(str(entry(state, key)))
        saved_kind = (saved["kind"], saved["state"]["bit_generator"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedDataError(
            f"the random state of the saved optimiser is unreadable: {error!r}"
        ) from error
    kind = (type(source).__name__, position_of(source)["bit_generator"])
    if saved_kind != kind:
        raise UsageError(
            f"the saved optimiser drew from {saved_kind[0]}({saved_kind[1]}) and this one draws "
            f"from {kind[0]}({kind[1]}); pass such a generator as random_seed."
        )
    try:
        position = _from_plain(saved["state"])
        if isinstance(source, np.random.RandomState):
            source.set_state(position)
        else:
            source.bit_generator.state = position
    except Exception as error:  # numpy raises many kinds for a state that cannot be
        raise MalformedDataError(
            f"the random state of the saved optimiser cannot be: {error!r:.200}"
        ) from error


def position_of(source: RandomSource) -> Mapping[str, Any]:
    """Return where a stream is, a copy; see `random_entry`."""
    if isinstance(source, np.random.RandomState):
        return source.get_state(legacy=False)
    return source.bit_generator.state


def _plain(value: Any) -> Any:
    """Turn the arrays in a bit generator's state into what JSON holds."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"dtype", "values"}:
        return np.array(value["values"], dtype=value["dtype"])
    return {key: _from_plain(part) for key, part in value.items()}
