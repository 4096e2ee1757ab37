"""The page that shows the notebook, in Markdown, from the notebook's own cells."""

import json
from collections.abc import Iterator
from pathlib import Path


def notebook_page(path: Path) -> str:
    """Markdown of the cells: text as it is, code as code, with the file to download."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(_blocks(cells, path.name))


def _blocks(cells: list[dict], name: str) -> Iterator[str]:
    link = f"[Download the notebook]({name}). On Colab its first cell installs cpp-pipe."
    for number, cell in enumerate(cells):
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            yield source
            # Below the title.
            if number == 0:
                yield link
        elif source:
            yield f"```python\n{source}\n```"
