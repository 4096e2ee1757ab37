"""Hooks of MkDocs: what the site is made of beside the pages in docs/, and what it must not do.

The digits are walked through once, in a folder that is thrown away. Their pictures and what
commands print go into the pages, so that both are of the program as it is now.
"""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
from docs_checks import loads_of_site
from docs_commands import commands_page
from docs_console import Console
from docs_kinds import kinds_section
from docs_math import to_mathml
from docs_notebook import notebook_page
from docs_pictures import draw_all
from docs_settings import settings_page
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from cpp_pipe import Run
from cpp_pipe.pipeline.commands.app import app
from cpp_pipe.pipeline.config import CONFIGS, Settings
from cpp_pipe.stages.algorithms.objective import Objective
from cpp_pipe.store.kinds import KINDS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
NOTEBOOK = "cpp_pipe.ipynb"

PATH = (
    "cpp-pipe demo",
    "cpp-pipe report --run digits",
    "cpp-pipe embed --config digits --run levels",
    "cpp-pipe hierarchy --finest 20 --run levels",
    "cpp-pipe assign --level 20 --run levels",
    "cpp-pipe caption --run levels",
    "cpp-pipe embed --config digits --run several",
)
"""Commands whose runs and pictures the pages show."""

_MADE = re.compile(r"^<!-- made: (?P<what>\w+)(?: (?P<of>.+))? -->$", re.MULTILINE)


@dataclass(frozen=True)
class Workshop:
    """The folder in which the digits were walked through."""

    console: Console
    kept: tempfile.TemporaryDirectory

    @property
    def store(self) -> Path:
        """The store of the digits."""
        return self.console.folder / "artifacts"

    def pictures(self) -> dict[str, bytes]:
        """Every picture of the pages by its file's name."""
        run = Run.open(self.store, "digits")
        drawn = draw_all(run, Run.open(self.store, "levels"))
        made = {"training": run.artifact("heads"), "curve": run.artifact("k_curve")}
        for name, artifact in made.items():
            drawn[f"{name}.png"] = artifact.path(artifact.parts[0].name, "picture").read_bytes()
        for name in ("picture-sheet", "text-sheet"):
            drawn[f"{name}.png"] = (self.store / "demo" / f"{name}.png").read_bytes()
        return drawn


@cache
def workshop() -> Workshop:
    """The digits, walked through once for all builds of this process."""
    kept = tempfile.TemporaryDirectory(prefix="cpp-pipe-docs-")
    made = Workshop(Console(Path(kept.name).resolve()), kept)
    for line in PATH:
        made.console.run(line)
    return made


def on_startup(command: str, dirty: bool) -> None:
    """Says that these hooks outlive one build, as `mkdocs serve` makes many."""


def on_shutdown() -> None:
    """Throws the folder of the digits away."""
    if workshop.cache_info().currsize:
        workshop().kept.cleanup()
        workshop.cache_clear()


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages and pictures that are made."""
    made = workshop()
    contents: dict[str, str | bytes] = {
        f"pictures/{name}": picture for name, picture in made.pictures().items()
    }
    contents |= {
        "benchmarks.md": RESULTS.read_text(),
        "commands.md": commands_page(_group()),
        "notebook.md": notebook_page(Path(config.docs_dir) / NOTEBOOK),
        "pictures/report.html": (made.store / "reports" / "digits.html").read_text(),
        "settings.md": settings_page(Settings, CONFIGS, others=(Objective,)),
    }
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files


def _group() -> Any:
    return typer.main.get_command(app)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Puts in what is made, and what commands print."""
    filled = _MADE.sub(lambda found: _made(found["what"], found["of"], page), markdown)
    return workshop().console.fill(filled)


def _made(what: str, of: str | None, page: Any) -> str:
    if what not in MAKERS:
        known = ", ".join(MAKERS)
        raise PluginError(f"{page.file.src_uri}: nothing makes {what!r}, only {known}")
    return MAKERS[what](of or "")


def _tables_of_kinds(_: str) -> str:
    return kinds_section(KINDS.values())


def _section(path: Path, title: str) -> str:
    """The lines below a heading of the second level, up to the next one."""
    parts = re.split(r"^## (.+)$", path.read_text(), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if title not in sections:
        raise PluginError(f"{path.name} has no section {title!r}, only {', '.join(sections)}")
    return sections[title].strip()


def _section_of_readme(title: str) -> str:
    return _section(README, title)


def _table_of_results(title: str) -> str:
    """The first table of a section of the results."""
    found = re.search(r"(?:^\|.*\n?)+", _section(RESULTS, title), re.MULTILINE)
    if found is None:
        raise PluginError(f"the section {title!r} of {RESULTS.name} has no table")
    return found[0]


def _manifest(slot: str) -> str:
    """The manifest of the digits' artifact in a slot, digests cut short."""
    text = _shortened(_folder(slot) / "manifest.json")
    return f"```json\n{text}\n```"


def _folder(slot: str) -> Path:
    # A store may lie in a bucket; this one does not.
    return Path(str(Run.open(workshop().store, "digits").artifact(slot).folder))


def _shortened(path: Path) -> str:
    text = json.dumps(json.loads(path.read_text()), indent=1)
    return re.sub(r'"([0-9a-f]{8})[0-9a-f]{56}"', r'"\1…"', text)


def _files(slot: str) -> str:
    """The files of the digits' artifact in a slot, as paths in the store."""
    folder, root = _folder(slot), workshop().console.folder
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    lines = [f"{path.relative_to(root)}  {path.stat().st_size:,} bytes" for path in paths]
    return "\n".join(["```text", *lines, "```"])


MAKERS: Mapping[str, Callable[[str], str]] = {
    "files": _files,
    "kinds": _tables_of_kinds,
    "manifest": _manifest,
    "readme": _section_of_readme,
    "results": _table_of_results,
}
"""What a line `<!-- made: NAME OF -->` of a page stands for."""


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Turns formulas into MathML."""
    return to_mathml(html)


def on_post_build(config: Any) -> None:
    """PluginError where a page loads anything from another host."""
    found = list(loads_of_site(Path(config.site_dir)))
    if found:
        raise PluginError("\n".join(found))
