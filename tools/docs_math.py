"""Formulas of the pages as MathML, made while the site is built: no script draws them."""

import html
import re

from latex2mathml.converter import convert

_MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)


def to_mathml(page: str) -> str:
    """HTML with MathML for every formula that pymdownx.arithmatex marked."""
    return _MARKED.sub(_replace, page)


def _replace(marked: re.Match[str]) -> str:
    display = "block" if marked["open"] == "[" else "inline"
    formula = convert(html.unescape(marked["latex"]).strip(), display=display)
    return f'<div class="formula">{formula}</div>' if display == "block" else formula
