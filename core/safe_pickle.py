"""Read pickles of arrays and tables without letting them run code.

A pickle is a program. This reader resolves only the names that numpy arrays, pandas tables and
EasyDict structs are rebuilt from; any other name is refused before anything of it is imported.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from core.errors import MalformedDataError, MissingDataError


class AttributeDict(dict[str, Any]):
    """What an EasyDict of the authors' files becomes: a plain dictionary."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickled instance dictionary, which repeats the items, as the items."""
        self.update(state)


#: Module → names that may be looked up in it. Modules are the present homes.
ALLOWED: dict[str, frozenset[str]] = {
    "builtins": frozenset(
        {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list",
         "range", "set", "slice", "str", "tuple"}
    ),
    "_codecs": frozenset({"encode"}),
    "collections": frozenset({"OrderedDict"}),
    "datetime": frozenset({"date", "datetime", "timedelta"}),
    "numpy": frozenset({"dtype", "ndarray"}),
    "numpy._core.multiarray": frozenset({"_reconstruct", "scalar"}),
    "numpy._core.numeric": frozenset({"_frombuffer"}),
    "pandas": frozenset(
        {"Categorical", "CategoricalDtype", "DataFrame", "Index", "MultiIndex", "NA", "RangeIndex",
         "Series", "StringDtype"}
    ),
    "pandas.arrays": frozenset({"ArrowStringArray", "BooleanArray", "StringArray"}),
    "pandas.core.frame": frozenset({"DataFrame"}),
    "pandas.core.series": frozenset({"Series"}),
    "pandas.core.indexes.base": frozenset({"Index", "_new_Index"}),
    "pandas.core.indexes.range": frozenset({"RangeIndex"}),
    "pandas.core.indexes.multi": frozenset({"MultiIndex"}),
    "pandas.core.internals.managers": frozenset({"BlockManager", "SingleBlockManager"}),
    "pandas.core.arrays.string_": frozenset({"StringArray", "StringDtype"}),
    "pandas.core.arrays.string_arrow": frozenset({"ArrowStringArray"}),
    "pandas.core.arrays.boolean": frozenset({"BooleanArray"}),
    "pandas.core.arrays.categorical": frozenset({"Categorical"}),
    "pandas.core.dtypes.dtypes": frozenset({"CategoricalDtype"}),
    "pandas._libs.internals": frozenset({"_unpickle_block"}),
    "pandas._libs.arrays": frozenset({"__pyx_unpickle_NDArrayBacked"}),
}  # fmt: skip

#: Homes that changed between the versions that wrote the published files and today's.
MOVED: dict[tuple[str, str], tuple[str, str]] = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"): ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"): ("numpy._core.numeric", "_frombuffer"),
    ("__builtin__", "unicode"): ("builtins", "str"),
    ("pandas.core.indexes.numeric", "Int64Index"): ("pandas", "Index"),
    ("pandas.core.indexes.numeric", "UInt64Index"): ("pandas", "Index"),
    ("pandas.core.indexes.numeric", "Float64Index"): ("pandas", "Index"),
}

#: Classes that are never imported; ours stands in.
REPLACED: dict[tuple[str, str], type] = {
    ("easydict", "EasyDict"): AttributeDict,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in REPLACED:
            return REPLACED[module, name]
        module, name = MOVED.get((module, name), (module, name))
        module = {"__builtin__": "builtins"}.get(module, module)
        if name not in ALLOWED.get(module, frozenset()):
            raise _RefusedError(f"{module}.{name}")
        return super().find_class(module, name)


class _RefusedError(pickle.UnpicklingError):
    pass


def load_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle that may hold only arrays, tables, plain containers and EasyDicts.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    object
        What was pickled; every EasyDict is a dictionary (`AttributeDict`).

    Raises
    ------
    MissingDataError
        If there is no such file.
    MalformedDataError
        If the file is cut off, is no pickle, or names anything that is not on the list. Nothing
        of such a file has been run.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"there is no file {path}.")
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except _RefusedError as refused:
        raise MalformedDataError(
            f"{path} was refused: its pickle asks for {refused}, which no table or array needs "
            "and which could run code. Nothing was run. Use the CSV twin of the file, or get it "
            "again from its source."
        ) from None
    except Exception as error:  # a broken pickle can raise anything while it is rebuilt
        raise MalformedDataError(
            f"{path} is not a readable pickle ({type(error).__name__}: {error}). It may be cut "
            "off; get it again, or use its CSV twin."
        ) from error
