"""Sphinx configuration; `make docs` builds the pages without network."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import GenericAlias, UnionType
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from generated_pages import write_pages  # noqa: E402

from core.versions import PROJECT, software_versions  # noqa: E402

project = "Dynamic neuron–GAN alignment"
author = "The Dynamic Neuron-GAN Alignment contributors"
project_copyright = author
release = software_versions(())[PROJECT]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "**/.ipynb_checkpoints", "sg_execution_times.rst"]
templates_path: list[str] = []

html_theme = "furo"
html_title = project
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and units are in the docstrings
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

nb_execution_mode = "off"  # notebooks are shown with the outputs that they were committed with
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Pages of the project's root link to each other where they lie.
suppress_warnings = ["config.cache", "mystnb.unknown_mime_type", "myst.xref_missing"]

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "reset_modules": ("matplotlib",),
    "write_computation_times": False,
    "notebook_extensions": set(),  # a notebook beside each page would be a page of its own
}

for package in ("core", "neuro_data_analysis", "source_data_export"):
    logging.getLogger(package).setLevel(logging.WARNING)

write_pages(HERE / "reference")


def _is_type_alias(
    app: Any, what: str, name: str, member: object, skip: bool, options: Any
) -> bool:
    """Leave out aliases and variables of types, which autodoc or numpydoc cannot print."""
    return skip or isinstance(member, GenericAlias | UnionType | TypeVar)


def setup(app: Any) -> None:
    """Connect what is left out of the reference."""
    app.connect("autodoc-skip-member", _is_type_alias)
