"""The store: published artifacts, drafts and runs, in a folder or in a bucket."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .artifact import Artifact
from .backend import backend_of
from .draft import Draft
from .errors import MissingError, StoreError
from .kinds import KINDS, Kind
from .manifest import MANIFEST, STORE_FILE, Recipe
from .parsing import Fields, is_version
from .paths import StorePath, store_path
from .runs import RunRecord, Runs
from .slots import kind_of

STORE_FORMAT = 1


class Store:
    """Versioned artifacts below a folder, which the first write creates.

    `root` is a path, or an address with `://` such as s3://bucket/path. ConfigError for a place
    that cannot hold a store; StoreError for a store that cannot be read.
    """

    def __init__(self, root: "str | StorePath") -> None:
        self.root = store_path(root)
        self._backend = backend_of(self.root)
        self.runs = Runs(self.root / "runs")
        self._check_format()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def _check_format(self) -> None:
        path = self.root / STORE_FILE
        value = self._backend.find_json(path)
        if value is None:
            return
        number = Fields(value, path).count("format")
        if number != STORE_FORMAT:
            raise StoreError(
                f"the store {self.root} has the format {number}, this version of "
                f"cpp-pipe reads format {STORE_FORMAT}: use the version that wrote it, or another "
                "--store"
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps `gc` away while artifacts are made; creates the store."""
        path = self.root / STORE_FILE
        with self._backend.writing(self.root):
            if not self._backend.is_file(path):
                self._backend.write_json(path, {"format": STORE_FORMAT})
            yield

    @property
    def exists(self) -> bool:
        """Whether anything was written to the store."""
        return self._backend.is_file(self.root / STORE_FILE)

    @property
    def local_folder(self) -> Path:
        """A folder of this machine for files of no artifact; on a disk the store itself."""
        return self._backend.local_folder(self.root)

    def write(self, name: str, content: bytes) -> StorePath:
        """Writes a file of no artifact, whole or not at all; returns its path."""
        path = self.root / name
        self._backend.write_whole(path, content)
        return path

    def folder(self, kind: Kind, version: str) -> StorePath:
        """The folder of a version, whether it exists or not."""
        return self.root / kind.name / version

    def find(self, kind: Kind, version: str) -> Artifact | None:
        """A published artifact, or None."""
        folder = self.folder(kind, version)
        return Artifact(folder) if self._is_published(folder) else None

    def open(self, kind: Kind, version: str) -> Artifact:
        """A published artifact; MissingError if there is none."""
        artifact = self.find(kind, version)
        if artifact is None:
            raise MissingError(
                f"the store {self.root} holds no published {kind.name} of version {version}: "
                "`cpp-pipe status` lists what there is"
            )
        return artifact

    def refer(
        self, run: str, versions: Mapping[str, str], **changes: Mapping[str, Any]
    ) -> RunRecord:
        """Lets a run refer to versions that are published, by slot, so that `gc` keeps them.

        `changes` are others of `Runs.update`. MissingError where `gc` has just removed one.
        """
        if self.runs.has(run, versions=versions, **changes):
            return self.runs.read(run)
        with self.writing():
            for slot, version in versions.items():
                self.open(kind_of(slot), version)
            return self.runs.update(run, versions=versions, **changes)

    def artifacts(self) -> list[Artifact]:
        """All published artifacts, in the order of data flow."""
        return [Artifact(folder) for folder in self._versions() if self._is_published(folder)]

    def drafts(self) -> list[StorePath]:
        """Folders of versions that are not published yet."""
        return [folder for folder in self._versions() if not self._is_published(folder)]

    def _is_published(self, folder: StorePath) -> bool:
        return self._backend.is_file(folder / MANIFEST)

    def _versions(self) -> list[StorePath]:
        names = {folder.name for folder in self._backend.folders(self.root)}
        kinds = [kind for kind in KINDS.values() if kind.name in names]
        return [folder for kind in kinds for folder in self._folders(kind)]

    def _folders(self, kind: Kind) -> list[StorePath]:
        """The folders of a kind's versions; other files and folders are ignored."""
        folders = self._backend.folders(self.root / kind.name)
        return [folder for folder in folders if is_version(folder.name)]

    def made_parts(self, recipe: Recipe) -> frozenset[str]:
        """The names of the parts of a recipe that need not be made again; writes nothing."""
        kind = KINDS[recipe.kind]
        return Draft(self.folder(kind, recipe.version), kind, recipe).made_parts(
            self._folders(kind)
        )

    def draft(self, recipe: Recipe) -> Draft:
        """The version that a recipe makes, with the parts that other versions have made already."""
        kind = KINDS[recipe.kind]
        draft = Draft(self.folder(kind, recipe.version), kind, recipe)
        draft.adopt(self._folders(kind))
        return draft
