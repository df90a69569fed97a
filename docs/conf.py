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
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "neighbours"]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",  # every example is run
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "matplotlib_animations": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,  # times differ from machine to machine
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
}
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 2

html_theme = "furo"
html_title = f"tsimpute {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the numpydoc sections tell more than the annotations
napoleon_google_docstring = False
napoleon_use_rtype = False
