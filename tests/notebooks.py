"""Notebooks run cell by cell, in this process or in a kernel of their own."""

from __future__ import annotations

import ast
import json
import os
import sys
from types import SimpleNamespace


def cells_of(path):
    """Return the cells of a notebook: kind, source as one text, and outputs."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return [
        SimpleNamespace(
            kind=cell["cell_type"], source="".join(cell["source"]), outputs=cell.get("outputs", [])
        )
        for cell in content["cells"]
    ]


def code_of(path):
    """Return the sources of the cells of code."""
    return [cell.source for cell in cells_of(path) if cell.kind == "code"]


def run_in_kernel(path, **environment):
    """Run a notebook from its own folder as a user does."""
    from jupyter_client.manager import start_new_kernel

    kernel = os.environ | environment | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    manager, client = start_new_kernel(kernel_name="python3", env=kernel, cwd=str(path.parent))
    try:
        for source in code_of(path):
            ended = client.execute_interactive(
                source, timeout=300, allow_stdin=False, output_hook=lambda message: None
            )["content"]
            assert ended["status"] == "ok", "\n".join(ended["traceback"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_here(path, monkeypatch, **environment):
    """Run the code of a notebook from its own folder, without the cost of a new kernel.

    What a cell ends with is shown, as a notebook shows it: its text is made, and its HTML.
    """
    with monkeypatch.context() as patched:
        patched.chdir(path.parent)
        patched.setattr(sys, "path", list(sys.path))
        for name, value in environment.items():
            patched.setenv(name, value)
        names = {}
        for source in code_of(path):
            tree = ast.parse(source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, path.name, "exec"), names)
            if last is not None:
                shown = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
                assert repr(shown)
                if hasattr(shown, "_repr_html_"):
                    shown._repr_html_()
