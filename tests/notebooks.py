"""Notebooks run cell by cell, in this process or in a kernel of their own."""

from __future__ import annotations

import os
import sys

import nbformat
from nbclient import NotebookClient


def run_in_kernel(path, **environment):
    """Run a notebook from its own folder as a user does."""
    kernel = os.environ | environment | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(nbformat.read(path, as_version=4), timeout=300, resources=resources)
    client.execute(env=kernel)


def run_here(path, monkeypatch, **environment):
    """Run the code of a notebook from its own folder, without the cost of a new kernel."""
    with monkeypatch.context() as patched:
        patched.chdir(path.parent)
        patched.setattr(sys, "path", list(sys.path))
        for name, value in environment.items():
            patched.setenv(name, value)
        names = {}
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, names)
