"""The templates of generated text: shape alone, every name defined, lines as they stand."""

from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rnndsl.resources import resource_folder


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(resource_folder("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def rendered(template: str, **given: Any) -> str:
    """The text of a template, named by its path in the folder of templates."""
    return _environment().get_template(template).render(**given)
