"""Sphinx's settings. `tox -e static` builds the site; `generate.py` writes the pages that the code and the READMEs give."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

import generate  # noqa: E402
import reference  # noqa: E402

import altbench  # noqa: E402

project = "altbench"
author = "The altbench authors"
version = release = altbench.__version__
copyright = f"2026, {author}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
master_doc = "index"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"altbench {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False

suppress_warnings = ["ref.python"]  # a name that two modules offer is no mistake


def setup(app: Any) -> None:
    """Write the generated pages before Sphinx looks for sources, and `llms.txt` at the end."""
    app.connect("config-inited", lambda *_: generate.write(HERE / "generated"))
    app.connect("build-finished", lambda app, _: reference.llms(Path(app.outdir)))
