"""The store: a folder of published artifacts, drafts and runs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .artifact import MANIFEST, Artifact
from .draft import Draft
from .errors import MissingError, StoreError
from .files import lock, read_json, write_json
from .kinds import KINDS, Kind
from .manifest import Recipe
from .runs import Runs

STORE_FORMAT = 1
STORE_FILE = "store.json"


class Store:
    """Versioned artifacts under a folder; made by the first write, never by a read."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.runs = Runs(self.root / "runs")
        self._check_format()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def _check_format(self) -> None:
        path = self.root / STORE_FILE
        if not path.is_file():
            return
        found = read_json(path).get("format")
        if found != STORE_FORMAT:
            raise StoreError(
                f"the store {self.root} has the format {found!r}, this version of cpp-pipe reads "
                f"format {STORE_FORMAT}: use the version that wrote it, or another --store"
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Says that artifacts are being made, so that `gc` keeps away; makes the store."""
        with lock(self.root / "lock", shared=True):
            if not (self.root / STORE_FILE).is_file():
                write_json(self.root / STORE_FILE, {"format": STORE_FORMAT})
            yield

    def folder(self, kind: Kind, version: str) -> Path:
        """Where a version lies, whether it is there or not."""
        return self.root / kind.name / version

    def find(self, kind: Kind, version: str) -> Artifact | None:
        """A published artifact, or None."""
        folder = self.folder(kind, version)
        return Artifact(folder) if (folder / MANIFEST).is_file() else None

    def open(self, kind: Kind, version: str) -> Artifact:
        """A published artifact; MissingError when it is not there."""
        found = self.find(kind, version)
        if found is None:
            raise MissingError(
                f"the store {self.root} holds no published {kind.name} of version {version}: "
                "`cpp-pipe status` lists what there is"
            )
        return found

    def artifacts(self) -> list[Artifact]:
        """All published artifacts, in the order of data flow."""
        return [
            Artifact(folder)
            for kind in KINDS.values()
            for folder in self._folders(kind)
            if (folder / MANIFEST).is_file()
        ]

    def drafts(self) -> list[Path]:
        """Folders of versions that were begun and not published."""
        return [
            folder
            for kind in KINDS.values()
            for folder in self._folders(kind)
            if not (folder / MANIFEST).is_file()
        ]

    def _folders(self, kind: Kind) -> list[Path]:
        root = self.root / kind.name
        return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []

    def draft(self, recipe: Recipe) -> Draft:
        """The version that a recipe makes, with every part that any version has made already."""
        kind = KINDS[recipe.kind]
        draft = Draft(self.folder(kind, recipe.version), kind, recipe)
        draft.adopt(self._folders(kind))
        return draft
