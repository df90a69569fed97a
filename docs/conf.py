"""How Sphinx builds the documentation; needs no network."""

from __future__ import annotations

import tsimpute

project = "tsimpute"
author = "The tsimpute developers"
copyright = f"2026, {author}"  # the name is Sphinx's
release = tsimpute.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 2

html_theme = "furo"
html_title = f"tsimpute {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the numpydoc sections tell more than the annotations
napoleon_google_docstring = False
napoleon_use_rtype = False
