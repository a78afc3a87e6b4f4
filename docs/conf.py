"""How Sphinx builds the documentation: ``make docs``. Needs no network.

Own code is what no extension offers: formulas as MathML, which browsers show without a
script, and the pages of :mod:`reference_tables`, which are made from the code.
"""

import sys
from pathlib import Path

from docutils import nodes  # type: ignore[import-untyped]
from docutils.utils.math.latex2mathml import (  # type: ignore[import-untyped]
    tex2mathml,
)
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

project = "Penchant"
project_copyright = "the authors of Penchant, under the MIT licence"
html_title = "Penchant"

extensions = [
    "myst_parser",
    "reference_tables",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["penchant.css"]
html_show_sphinx = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpicky = True
# Of other packages, whose pages are on the net, and of ours that have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    formula = tex2mathml(node.astext(), as_block=True)
    self.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def _without_aliases(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Leave out what Python says of the fields of a named tuple."""
    del app, what, name, obj, options
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()


def setup(app: Sphinx) -> None:
    """Formulas by docutils, docstrings by people."""
    app.connect("autodoc-process-docstring", _without_aliases)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


html_math_renderer = "mathml"
