"""Sphinx configuration. The pages need no network: MathJax, which sets formulas, is vendored."""

import sparsefield

project = "sparsefield"
author = "The sparsefield authors"
copyright = "The sparsefield authors, Apache-2.0"  # noqa: A001
version = release = sparsefield.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_static", "results/intro.md"]
root_doc = "index"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# MathJax 3.2.2 from its npm package, Apache-2.0, unchanged; its menu would load more on demand.
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "furo"
html_title = "sparsefield"
html_static_path = ["_static"]
html_theme_options = {"source_directory": "docs/"}
