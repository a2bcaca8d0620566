"""Pages of text for a notebook."""

from html import escape

_STYLE = "font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; line-height: 1.35; overflow-x: auto; white-space: pre"


def in_fixed_width(text: str) -> str:
    """Text whose columns line up, whatever the notebook's own font and style."""
    return f'<pre style="{_STYLE}">{escape(text)}</pre>'
