"""Contact sheets: images of rows with lines of text, written as one image.

If some images cannot be read, a sheet counts them and shows the others; if none can be read, it
fails. The same rule holds for `report` and `export`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...store import MissingError
from ..destinations import SHEET
from ..run import Run
from ..wording import agreeing, counted
from .messages import say

if TYPE_CHECKING:
    from PIL import Image


class Sheet:
    """A contact sheet that is being filled, for a file."""

    def __init__(self, run: Run, path: Path) -> None:
        self._run = run
        self._path = path
        self._tiles: list[tuple[Image.Image | None, Sequence[str]]] = []
        self._asked = 0
        self._troubles: list[str] = []

    def add(self, image: "Image.Image | None", lines: Sequence[str]) -> None:
        """Adds an image, or an empty frame."""
        self._tiles.append((image, lines))

    def add_row(self, row: int, lines: Sequence[str]) -> None:
        """Adds the image of a row; an empty frame where it cannot be read."""
        self._asked += 1
        image = None
        try:
            image = self._run.image(row)
        except MissingError as error:
            self._troubles.append(str(error))
        self.add(image, lines)

    def write(self) -> None:
        """Draws the sheet; MissingError where the image of no row could be read."""
        from ..curation.files import whole_file
        from ..view.contact_sheet import draw_sheet

        if not self._tiles:
            say(f"nothing to draw: {self._path} is not written")
            return
        lost = len(self._troubles)
        if lost and lost == self._asked:
            raise MissingError(
                f"no image could be read, so {self._path} is not written: {self._troubles[0]}"
            )
        with whole_file(self._path, flag="--sheet") as temporary:
            draw_sheet(self._tiles).save(temporary, SHEET[self._path.suffix.lower()])
        say(f"drew {self._path}")
        if lost:
            say(
                f"{lost:,} of {counted(self._asked, 'image')} "
                f"{agreeing(lost, 'is an empty frame', 'are empty frames')}: {self._troubles[0]}"
            )
