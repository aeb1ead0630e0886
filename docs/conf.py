"""The documentation site: `make docs`. Pages are Markdown; reference/ and the proof page come from the code."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

import reference

from sagegen import __version__

project = "sagegen"
author = "the sagegen authors"
project_copyright = author
release = __version__
version = release.partition("+")[0]

extensions = ["myst_parser", "sphinx_click", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["decisions/README.md"]  # part of decisions/index.md
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # fragments of CHANGELOG.md begin at any level
# "console" lines are copied without their prompt.
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

smartquotes = False  # options begin with two hyphens, and stay so

html_theme = "furo"
html_title = "sagegen"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e75", "color-brand-content": "#0b6e75"},
    "dark_css_variables": {"color-brand-primary": "#5fd0d6", "color-brand-content": "#5fd0d6"},
    "top_of_page_buttons": [],
}
# Nothing is loaded from elsewhere: the site works from a folder, offline.
html_use_opensearch = ""


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda _: reference.write(Path(__file__).parent))
