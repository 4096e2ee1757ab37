"""Fonts for words of every script: our own font, and those of the machine."""

import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...stages.drawing.figure_style import STYLE

if TYPE_CHECKING:
    from matplotlib.text import Text

log = logging.getLogger(__name__)

_LAST_RESORT = "Last Resort"
"""A font that comes with matplotlib, and has a box for every letter."""

_SHOWN = 20
"""Letters that a message shows."""


def choose_families(words: Iterable[str]) -> list[str]:
    """The names of our font, and of as many others as it takes to write the words in bold.

    Each letter is taken from the first one that has it. Warns of letters that none has.
    """
    from matplotlib.font_manager import FontProperties, findfont, fontManager, weight_dict

    own = str(STYLE["font.family"])
    letters = {letter for text in words for letter in text if letter.isprintable()}
    missing = _lacking(letters, findfont(FontProperties(family=own, weight="bold")))
    families = [own]
    if missing:
        boldest: dict[str, tuple[bool, int, str]] = {}
        for font in fontManager.ttflist:
            if font.name.startswith(_LAST_RESORT) or not Path(font.fname).is_file():
                continue
            weight = weight_dict[font.weight] if isinstance(font.weight, str) else font.weight
            face = font.style == "normal", weight, font.fname
            boldest[font.name] = max(face, boldest.get(font.name, face))
        for name, (_, _, path) in sorted(boldest.items()):
            lacking = _lacking(missing, path)
            if lacking < missing:
                families.append(name)
                missing = lacking
    if missing:
        log.warning(
            "no font here has the letters %s: figures show boxes in their place; install a font "
            "that has them, such as Noto Sans CJK",
            "".join(sorted(missing)[:_SHOWN]),
        )
    return families


def _lacking(letters: set[str], path: str) -> set[str]:
    known = _letters_of(path)
    return {letter for letter in letters if ord(letter) not in known}


@lru_cache(maxsize=1024)
def _letters_of(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except RuntimeError:  # FreeType cannot read the file
        return frozenset()


def fit_text(text: "Text", words: str, tail: str = "") -> None:
    """Shows the words and the tail, and no more of the words than the figure has room for."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = text.get_figure(root=True)
    assert figure is not None, "a text that is in no figure has no room"
    renderer = FigureCanvasAgg(figure).get_renderer()

    def fits(length: int) -> bool:
        cut = words if length == len(words) else f"{words[:length].rstrip()}…"
        text.set_text(cut + tail)
        return text.get_window_extent(renderer).x1 <= figure.bbox.x1

    if fits(len(words)):
        return
    shortest, longest = 0, len(words) - 1
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        shortest, longest = (middle, longest) if fits(middle) else (shortest, middle - 1)
    fits(shortest)
