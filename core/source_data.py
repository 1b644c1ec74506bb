"""The door to the source data: every table is read, written and checked by its registry entry.

``python -m core.source_data check [FOLDER]`` says which tables are there, ``… fetch`` brings them.
"""

from __future__ import annotations

import sys

from core import start

if __name__ == "__main__":
    sys.exit(start.run("core.source_tables.command"))


from core.source_tables.command import main
from core.source_tables.reader import (
    DEFAULT_FOLDER,
    SIMULATED_FOLDER,
    ExamplePsth,
    SourceData,
    Table,
    TableStatus,
    check_folder,
    write_table,
    write_tables,
)

__all__ = [
    "DEFAULT_FOLDER",
    "SIMULATED_FOLDER",
    "ExamplePsth",
    "SourceData",
    "Table",
    "TableStatus",
    "check_folder",
    "main",
    "write_table",
    "write_tables",
]
