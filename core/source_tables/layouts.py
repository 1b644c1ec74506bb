"""How a source-data file is laid out: what is written, and what a reader may rely on.

A layout writes a value, reads it back, and says in one sentence what does not fit. Text is UTF-8,
numbers are written with all their digits.
"""

from __future__ import annotations

import io
import itertools
import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.errors import MalformedDataError
from core.files import read_json
from core.reading.safe_pickle import load_pickle

#: Numbers are read with all their digits: what pandas does by itself from 3.1 on.
_EXACT_NUMBERS: dict[str, Any] = (
    {"float_precision": "round_trip"}
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
    else {}
)

#: Bounds of a file. No table comes near them; a larger file is a mistake, or meant to fill memory.
LARGEST_TABLE_BYTES = 512 << 20
LARGEST_TEXT_BYTES = 64 << 20
LONGEST_HEADER_BYTES = 1 << 20

#: Columns of a table whose number is not known, and beyond those that are asked for. The published
#: table of Figure 3 has a hundred that nothing reads.
_MOST_COLUMNS, _MOST_MORE_COLUMNS = 5_000, 1_000

#: No title or label is longer; drawing one of a hundred thousand letters would not end.
LONGEST_LABEL = 2_000

#: No firing rate, share or fit is beyond it.
LARGEST_RESPONSE = 1e6

#: Length of an axis: a number, or the name of a length that all tables of a figure share.
Length = int | str

#: How truth values are written beside 0 and 1.
_FLAGS = {"True": "1", "False": "0", "1.0": "1", "0.0": "0"}

_NAMES_SHOWN = 60

#: Says in a sentence how the values of a table contradict each other, or nothing.
Rule = Callable[[pd.DataFrame], str]


class Layout(ABC):
    """One kind of file."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read a file of this kind.

        Raises
        ------
        MalformedDataError
            If it is not of this kind, seems cut off, or is larger than any table.
        """

    @abstractmethod
    def write(self, path: Path, value: Any) -> None:
        """Write a value that `check` accepts."""

    @abstractmethod
    def check(self, value: Any) -> dict[str, int]:
        """Compare a value with the layout.

        Parameters
        ----------
        value : object
            What was read, or is to be written.

        Returns
        -------
        dict of str to int
            The lengths that the value shares with other tables, by name.

        Raises
        ------
        MalformedDataError
            If the value does not fit; the message says what was expected and what was found.
        """


@dataclass(frozen=True)
class Grid(Layout):
    """Numbers without names: rows × columns.

    Attributes
    ----------
    rows, columns : int or str
        Length of each axis, or the name of a shared length.
    header : bool
        Whether the file begins with the numbers of its columns.
    row_numbers : bool
        Whether each row begins with its number.
    may_be_missing : bool
        Whether a cell may be empty (NaN).
    binary : bool
        Whether all cells are 0 or 1.
    """

    rows: Length
    columns: Length
    header: bool = True
    row_numbers: bool = False
    may_be_missing: bool = False
    binary: bool = False

    def read(self, path: Path) -> np.ndarray:
        """Read the numbers; their places come from their order alone."""
        table = _read_csv(
            path,
            _MOST_COLUMNS if isinstance(self.columns, str) else self.columns + self.row_numbers,
            header=0 if self.header else None,
            index_col=0 if self.row_numbers else None,
        )
        if self.header:
            _require_numbered(table.columns, "columns", "its first line")
        if self.row_numbers:
            _require_numbered(table.index, "rows", "its first column")
        for name in table:
            if not pd.api.types.is_numeric_dtype(table[name]):
                raise MalformedDataError(
                    f"column {name!r} holds {_first_text(table[name])}; expected numbers only"
                )
        return table.to_numpy(dtype=float)

    def write(self, path: Path, value: Any) -> None:
        """Write rows and columns, numbered where a file of this kind is."""
        array = np.asarray(value)
        lines = [",".join(map(repr, row)) for row in array.tolist()]
        if self.row_numbers:
            lines = [f"{number},{line}" for number, line in enumerate(lines)]
        if self.header:
            lines.insert(0, "," * self.row_numbers + ",".join(map(str, range(array.shape[1]))))
        text = "\n".join([*lines, ""])
        path.write_text(text.replace("nan", "") if self.may_be_missing else text, encoding="utf-8")

    def check(self, value: Any) -> dict[str, int]:
        """Hold an array to the lengths of its axes and to what a cell may be."""
        array = np.asarray(value)
        if array.ndim != 2:
            raise MalformedDataError(f"an array of {array.ndim} axes; expected rows × columns")
        shared = {}
        for axis, expected, found in zip(
            ("rows", "columns"), (self.rows, self.columns), array.shape, strict=True
        ):
            if isinstance(expected, str):
                shared[expected] = found
            elif found != expected:
                raise MalformedDataError(f"{found} {axis}; expected {expected}")
        if not self.may_be_missing and np.isnan(array).any():
            row, column = np.argwhere(np.isnan(array))[0]
            raise MalformedDataError(f"row {row}, column {column} is empty; no cell may be")
        if self.binary and not np.isin(array, (0, 1)).all():
            raise MalformedDataError("a mask holds other values than 0 and 1")
        if array.dtype.kind == "f" and (np.abs(array) > LARGEST_RESPONSE).any():
            row, column = np.argwhere(np.abs(array) > LARGEST_RESPONSE)[0]
            raise MalformedDataError(
                f"row {row}, column {column} holds {array[row, column]:g}, which no response is"
            )
        return shared


@dataclass(frozen=True)
class Columns(Layout):
    """A table with named columns.

    Attributes
    ----------
    names : tuple of str
        The columns, in order. A file may hold more; it may not lack one.
    rows : int, str or None
        Number of rows, the name of a shared length, or None for any.
    text, flags : frozenset of str
        Columns of text, and of truth values (True/False or 1/0); all others hold numbers.
    may_be_missing : frozenset of str
        Columns in which a cell may be empty.
    optional : frozenset of str
        Columns that a file may lack; those it has are held to the rest.
    index : {"none", "Expi", "row"}
        Whether the file begins with an index column: none, one named Expi, or a row number
        without a name. Of the values read, only Expi becomes the index of the table.
    unique : tuple of str
        Columns that together name a row; no row may be there twice. Expi as an index is unique.
    within : mapping of str to (float, float)
        Columns whose values lie between two bounds; missing values may too.
    rules : tuple of callable
        What the values have to do with each other: each says in a sentence what is wrong, or
        nothing.
    may_be_empty : bool
        Whether a table without rows is one.
    """

    names: tuple[str, ...]
    rows: Length | None = None
    text: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    may_be_missing: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    index: Literal["none", "Expi", "row"] = "none"
    unique: tuple[str, ...] = ()
    within: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    may_be_empty: bool = False

    def read(self, path: Path) -> pd.DataFrame:
        """Read the columns that have names here; others are left out."""
        most = len(self.names) + _MOST_MORE_COLUMNS
        table = _read_csv(path, most, index_col="Expi" if self.index == "Expi" else None)
        return self.converted(table)

    def converted(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of a table as numbers, truth values and text; others are left out."""
        names = self._found(table)
        return table[names].assign(**{name: self._converted(table[name]) for name in names})

    def write(self, path: Path, value: Any) -> None:
        """Write the columns in their order, and the index that a file of this kind has."""
        label = "Expi" if self.index == "Expi" else None
        table = value[self._found(value)]
        table.to_csv(path, index=self.index != "none", index_label=label)

    def check(self, value: Any) -> dict[str, int]:
        """Hold a table to its columns, its number of rows and what a cell may be."""
        for name in self._found(value):
            if name not in self.may_be_missing and value[name].isna().any():
                row = int(np.flatnonzero(value[name].isna())[0])
                raise MalformedDataError(f"column {name!r} is empty in row {row}; no cell may be")
        if isinstance(self.rows, int) and len(value) != self.rows:
            raise MalformedDataError(f"{len(value)} rows; expected {self.rows}")
        self._check_values(value)
        return {self.rows: len(value)} if isinstance(self.rows, str) else {}

    def _check_values(self, value: pd.DataFrame) -> None:
        """Refuse values that cannot be, or cannot be together."""
        if len(value) == 0 and not self.may_be_empty:
            raise MalformedDataError("it holds no rows")
        unique = [name for name in self.unique if name in value]
        twice = value.duplicated(unique) if unique else value.index.duplicated()
        if (unique or self.index == "Expi") and np.any(twice):
            row = int(np.flatnonzero(twice)[0])
            named = value.iloc[row][unique].tolist() if unique else [value.index[row]]
            what = ", ".join(unique) or "Expi"
            raise MalformedDataError(f"row {row} repeats {what} {', '.join(map(str, named))}")
        for name, (low, high) in self.within.items():
            outside = ~value[name].dropna().between(low, high) if name in value else pd.Series()
            if outside.any():
                wrong = value[name].dropna()[outside].iloc[0]
                raise MalformedDataError(
                    f"column {name!r} holds {wrong}; expected {low:g} to {high:g}"
                )
        for rule in self.rules:
            if told := rule(value):
                raise MalformedDataError(told)

    def _found(self, table: pd.DataFrame) -> list[str]:
        """Return which of the columns a table has, in order; refuse one that lacks any needed."""
        missing = [name for name in self.names if name not in table and name not in self.optional]
        if missing:
            raise MalformedDataError(
                f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
                f"found {_listed(table.columns)}"
            )
        if not table.columns.is_unique:
            raise MalformedDataError("two columns have the same name")
        return [name for name in self.names if name in table]

    def _converted(self, column: pd.Series) -> pd.Series:
        name = str(column.name)
        if name in self.text:
            return column.astype(object).where(column.notna(), None)
        if name in self.flags:
            texts = column.astype(str).replace(_FLAGS)
            unknown = column[~texts.isin(("0", "1"))]
            if len(unknown):
                raise MalformedDataError(
                    f"column {name!r} holds {unknown.iloc[0]!r}; expected 0/1 or True/False"
                )
            return texts == "1"
        if column.empty:
            return column.astype(float)
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            raise MalformedDataError(
                f"column {name!r} holds {_first_text(column)}; expected numbers"
            )
        return column


@dataclass(frozen=True)
class JsonObject(Layout):
    """One JSON object.

    Attributes
    ----------
    keys : mapping of str to type or tuple of types
        What must be there; more may be.
    """

    keys: Mapping[str, type | tuple[type, ...]]

    def read(self, path: Path) -> dict[str, Any]:
        """Read the object."""
        try:
            return read_json(path)
        except ValueError as error:
            raise MalformedDataError(f"not a JSON object ({error})") from error

    def write(self, path: Path, value: Any) -> None:
        """Write the object, two blanks for each level."""
        path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    def check(self, value: Any) -> dict[str, int]:
        """Hold an object to its keys and their kinds."""
        if not isinstance(value, dict):
            raise MalformedDataError(f"a {type(value).__name__}; expected a JSON object")
        for key, kind in self.keys.items():
            if not isinstance(value.get(key), kind):
                raise MalformedDataError(f"key {key!r} is missing or not of the right kind")
            if isinstance(value[key], str) and len(value[key]) > LONGEST_LABEL:
                raise MalformedDataError(f"key {key!r} is a text of {len(value[key])} letters")
        return {}


@dataclass(frozen=True)
class PickledDict(Layout):
    """A pickled dictionary of arrays, tables and scalars, as the published set has beside its CSVs.

    Attributes
    ----------
    parts : mapping of str to Layout or None
        Keys that must be there, with the layout of their value where it is a table or an array.
    """

    parts: Mapping[str, Layout | None] = field(default_factory=dict)

    def read(self, path: Path) -> dict[str, Any]:
        """Read the dictionary; nothing of it is run."""
        return _unpickled(path)

    def write(self, path: Path, value: Any) -> None:
        """Pickle the dictionary."""
        path.write_bytes(pickle.dumps(value, protocol=4))

    def check(self, value: Any) -> dict[str, int]:
        """Hold a dictionary to its keys, and each part to its layout."""
        if not isinstance(value, dict):
            raise MalformedDataError(f"a {type(value).__name__}; expected a dictionary")
        shared: dict[str, int] = {}
        for key, layout in self.parts.items():
            if key not in value:
                raise MalformedDataError(f"key {key!r} is missing; found {_listed(value)}")
            if layout is not None:
                shared |= layout.check(value[key])
        return shared


@dataclass(frozen=True)
class PickledTable(Layout):
    """A pickled table, as the published set has beside a CSV.

    Attributes
    ----------
    columns : Columns
        What it must hold.
    arrays : frozenset of str
        Columns whose cells hold one array each, besides those of `columns`.
    """

    columns: Columns
    arrays: frozenset[str] = frozenset()

    def read(self, path: Path) -> pd.DataFrame:
        """Read the columns that have names here; nothing of the file is run."""
        table = _unpickled(path)
        self.check(table)
        return self.columns.converted(table).assign(**{name: table[name] for name in self.arrays})

    def write(self, path: Path, value: Any) -> None:
        """Pickle the table."""
        # Text as objects: the string type of one pandas is not known to the others.
        text = {name: value[name].astype(object) for name in value if name in self.columns.text}
        table = value.assign(**text).set_axis(pd.Index(value.columns, dtype=object), axis=1)
        path.write_bytes(pickle.dumps(table, protocol=4))

    def check(self, value: Any) -> dict[str, int]:
        """Hold a table to its columns, those of arrays included."""
        if not isinstance(value, pd.DataFrame):
            raise MalformedDataError(f"a {type(value).__name__}; expected a table")
        missing = sorted(self.arrays - set(value.columns))
        if missing:
            raise MalformedDataError(f"missing columns of arrays {', '.join(missing)}")
        return self.columns.check(value)


def _unpickled(path: Path) -> Any:
    if (size := path.stat().st_size) > LARGEST_TABLE_BYTES:
        raise MalformedDataError(f"{size} bytes; no table has more than {LARGEST_TABLE_BYTES}")
    return load_pickle(path)


def _require_numbered(labels: pd.Index, what: str, where: str) -> None:
    """Refuse a wide table whose rows or columns are not numbered from 0: their order has meaning.

    So an index column too many or too few is found too, and a line that another program has put
    before the table.
    """
    found, expected = [str(label) for label in labels], [str(n) for n in range(len(labels))]
    if found != expected:
        kind = "in another order" if sorted(found) == sorted(expected) else "not numbered"
        raise MalformedDataError(
            f"its {what} are {kind}: {where} is {_listed(found[:3])}, … {found[-1][:20]}; expected "
            f"0, 1, 2, … {len(found) - 1}"
        )


def _text_of(path: Path) -> str:
    """Read the text of a table; name the encoding or the line ends that are not ours."""
    if (size := path.stat().st_size) > LARGEST_TEXT_BYTES:
        raise MalformedDataError(f"{size} bytes; no CSV table has more than {LARGEST_TEXT_BYTES}")
    content = path.read_bytes()
    if not content.strip():
        raise MalformedDataError("it is empty")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise MalformedDataError("its text is UTF-16; save it as CSV in UTF-8")
    if b"\x00" in content:
        raise MalformedDataError("it is no text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedDataError(
            f"byte {error.start} is not UTF-8; save it as CSV in UTF-8"
        ) from error
    if "\n" not in text and "\r" in text.strip():
        raise MalformedDataError("its lines end with CR only; save it with LF or CR LF")
    return text


def _read_csv(path: Path, most_columns: int, **options: Any) -> pd.DataFrame:
    text = _text_of(path)
    first = text.partition("\n")[0]
    if len(first) > LONGEST_HEADER_BYTES or first.count(",") >= most_columns:
        raise MalformedDataError(
            f"its first line has {first.count(',') + 1} columns; expected at most {most_columns}"
        )
    if first.lower().startswith("sep="):
        raise MalformedDataError("it begins with a line 'sep=', which only Excel reads; remove it")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in first and "," not in first:
            raise MalformedDataError(
                f"its columns are separated by {name}; save it with commas, and points in numbers"
            )
    try:
        return pd.read_csv(io.StringIO(text), **_EXACT_NUMBERS, **options)
    except Exception as error:  # pandas raises many kinds for a damaged table
        raise MalformedDataError(f"not a readable CSV table ({error})") from error


def _listed(names: Iterable[Any]) -> str:
    shown = [str(name) for name in itertools.islice(names, _NAMES_SHOWN + 1)]
    return ", ".join(shown[:_NAMES_SHOWN]) + (", …" if len(shown) > _NAMES_SHOWN else "")


def _first_text(column: pd.Series) -> str:
    is_text = pd.to_numeric(column, errors="coerce").isna() & column.notna()
    if not is_text.any():
        return "truth values"
    row = int(np.flatnonzero(is_text)[0])
    return f"{str(column.iloc[row])[:40]!r} in row {row}"
