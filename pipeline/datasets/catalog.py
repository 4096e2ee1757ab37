"""The data sets that `fetch` writes, and facts about each."""

import difflib
import struct
import sys
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from ...store import ConfigError
from ...store.errors import one_line
from .coco import read_coco
from .download_commands import DOWNLOAD_COMMANDS
from .example import Listing
from .readers import Reader, read_caltech, read_cifar, read_files, read_pets
from .videos import FRAMES, LISTS, VIDEOS, read_ucf101

_READ_ERRORS = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ImportError,
    OverflowError,
    TypeError,
    struct.error,
    tarfile.TarError,
    zlib.error,
)
"""Errors of torchvision where files are missing or damaged, or need another package."""


def _read_errors() -> tuple[type[Exception], ...]:
    """`_READ_ERRORS`, and errors of modules that are loaded by now: of .mat files and of pickle."""
    return (*_READ_ERRORS, *_errors_of("scipy.io.matlab", "MatReadError"), *_pickle_errors())


def _pickle_errors() -> tuple[type[Exception], ...]:
    return _errors_of("pickle", "PickleError")


def _network_errors(download: bool) -> tuple[type[Exception], ...]:
    """Errors of a download, if there is one, also where it breaks off in the middle."""
    own = (URLError, HTTPException, ConnectionError, TimeoutError)
    return (*own, *_errors_of("ssl", "SSLError")) if download else ()


def _errors_of(module: str, name: str) -> tuple[type[Exception], ...]:
    """An error class of a module; none if the module is not loaded, and so raised no error."""
    loaded = sys.modules.get(module)
    return () if loaded is None else (getattr(loaded, name),)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set, and how torchvision reads it."""

    name: str
    title: str
    images: int
    """The number of images in all splits."""
    classes: int
    splits: tuple[str, ...]
    """Empty if the authors made none."""
    files: str
    """Names of the files and folders that the folder of the data set must hold."""
    source: str
    """Address of the authors' page."""
    reader: Reader
    is_downloaded: bool = True
    """Whether torchvision can download it."""
    folder: str = ""
    """The default folder of its shards; if empty, a folder of its name."""
    label: str = "cls"
    """The label that `eval` scores against: cls, or a JSON field."""

    @property
    def shards(self) -> str:
        """The folder of its shards, which the shipped configs read."""
        return self.folder or self.name

    def open(self, root: Path, splits: Sequence[str], *, download: bool) -> Listing:
        """Lists its images in the files in `root`, which `download` fetches first.

        ConfigError if a split is unknown, or files are missing or damaged.
        """
        for split in splits:
            if split not in self.splits:
                known = f"those of {self.name} are {', '.join(self.splits)}"
                raise ConfigError(
                    f"--split {split}: {known if self.splits else f'{self.name} has no splits'}"
                )
        try:
            return self.reader(root, tuple(dict.fromkeys(splits)) or self.splits, download)
        except _network_errors(download) as error:
            if isinstance(error, HTTPError):
                error.close()
            why = error.reason if isinstance(error, URLError) else _reason(error)
            raise ConfigError(
                f"{self.title} cannot be downloaded ({why}): try again, or get it from "
                f"{self.source} and name the folder of its files with --from"
            ) from error
        except _read_errors() as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f"{self.title} cannot be read from {root}: {_reason(error)}. The folder must hold "
                f"{self.files}, from {self.source}"
            ) from error


def _reason(error: Exception) -> str:
    """The message of an error, without torchvision's advice on calls in Python."""
    if isinstance(error, ModuleNotFoundError) and error.name == "pycocotools":
        return "pycocotools is not installed (pip install 'cpp-pipe[coco]')"
    if isinstance(error, OSError) and error.strerror:
        # Sockets and full disks name no file.
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, _pickle_errors()):  # torch advises to load it without any check
        return "a file is damaged"
    message = one_line(str(error)).split(" You can use download=True")[0]
    return message.rstrip(". ") or type(error).__name__


def _files(kind: str, images: str, *, is_sorted: bool = False) -> Reader:
    return partial(read_files, kind=kind, images=images, is_sorted=is_sorted)


_SETS = (
    DataSet(
        name="cifar10",
        title="CIFAR-10",
        images=60_000,
        classes=10,
        splits=("train", "test"),
        files="cifar-10-batches-py/",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        reader=partial(read_cifar, kind="CIFAR10"),
    ),
    DataSet(
        name="cifar20",
        title="CIFAR-100 under its 20 superclasses",
        images=60_000,
        classes=20,
        splits=("train", "test"),
        files="cifar-100-python/",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        reader=partial(read_cifar, kind="CIFAR100"),
        folder="cifar100",
        label="coarse_label",
    ),
    DataSet(
        name="cifar100",
        title="CIFAR-100",
        images=60_000,
        classes=100,
        splits=("train", "test"),
        files="cifar-100-python/",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        reader=partial(read_cifar, kind="CIFAR100"),
    ),
    DataSet(
        name="caltech101",
        title="Caltech-101",
        images=8_677,
        classes=101,
        splits=(),
        files="caltech101/101_ObjectCategories/",
        source="https://data.caltech.edu/records/mzrjq-6wc02",
        reader=read_caltech,
    ),
    DataSet(
        name="oxford-pets",
        title="Oxford-IIIT Pet",
        images=7_349,
        classes=37,
        splits=("trainval", "test"),
        files="oxford-iiit-pet/images/ and oxford-iiit-pet/annotations/",
        source="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        reader=read_pets,
    ),
    DataSet(
        name="flowers102",
        title="Oxford Flowers-102",
        images=8_189,
        classes=102,
        splits=("train", "val", "test"),
        files="flowers-102/jpg/, flowers-102/imagelabels.mat and flowers-102/setid.mat",
        source="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        reader=_files("Flowers102", "flowers-102/jpg"),
    ),
    DataSet(
        name="dtd",
        title="Describable Textures (DTD)",
        images=5_640,
        classes=47,
        splits=("train", "val", "test"),
        files="dtd/dtd/images/ and dtd/dtd/labels/",
        source="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        reader=_files("DTD", "dtd/dtd/images"),
    ),
    DataSet(
        name="aircraft",
        title="FGVC-Aircraft",
        images=10_000,
        classes=100,
        splits=("train", "val", "test"),
        files="fgvc-aircraft-2013b/data/",
        source="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
        reader=_files("FGVCAircraft", "fgvc-aircraft-2013b/data/images"),
    ),
    DataSet(
        name="stanford-cars",
        title="Stanford Cars",
        images=16_185,
        classes=196,
        splits=("train", "test"),
        files="stanford_cars/ with cars_train/, cars_test/, devkit/ and "
        "cars_test_annos_withlabels.mat",
        source="copies of it, since its own page is gone",
        reader=_files("StanfordCars", "stanford_cars"),
        is_downloaded=False,
    ),
    DataSet(
        name="food101",
        title="Food-101",
        images=101_000,
        classes=101,
        splits=("train", "test"),
        files="food-101/images/ and food-101/meta/",
        source="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        reader=_files("Food101", "food-101/images"),
    ),
    DataSet(
        name="sun397",
        title="SUN397",
        images=108_754,
        classes=397,
        splits=(),
        files="SUN397/ with ClassName.txt",
        source="https://vision.princeton.edu/projects/2010/SUN/",
        reader=_files("SUN397", "SUN397", is_sorted=True),
    ),
    DataSet(
        name="eurosat",
        title="EuroSAT",
        images=27_000,
        classes=10,
        splits=(),
        files="eurosat/2750/",
        source="https://github.com/phelber/EuroSAT",
        reader=_files("EuroSAT", "eurosat/2750"),
    ),
    DataSet(
        name="ucf101",
        title="UCF101 (middle frames)",
        images=13_320,
        classes=101,
        splits=("train", "test"),
        files=f"{VIDEOS}/ or {FRAMES}/, and {LISTS}/",
        source="https://www.crcv.ucf.edu/data/UCF101.php",
        reader=read_ucf101,
        is_downloaded=False,
    ),
    DataSet(
        name="coco",
        title="MS-COCO 2017",
        images=123_287,
        classes=80,
        splits=("train2017", "val2017"),
        files="train2017/, val2017/ and annotations/",
        source="https://cocodataset.org/#download",
        reader=read_coco,
        is_downloaded=False,
    ),
    DataSet(
        name="imagenet",
        title="ImageNet-1k",
        images=1_331_167,
        classes=1000,
        splits=("train", "val"),
        files="the three ILSVRC2012 archives (img_train, img_val, devkit_t12), or what torchvision "
        "made of them",
        source="https://image-net.org/challenges/LSVRC/2012/2012-downloads.php",
        reader=_files("ImageNet", ""),
        is_downloaded=False,
    ),
)

CATALOG: Mapping[str, DataSet] = {dataset.name: dataset for dataset in _SETS}
"""The data sets by name."""


def find_data_set(name: str) -> DataSet:
    """A data set by its name; ConfigError if there is none."""
    if name in CATALOG:
        return CATALOG[name]
    known = [*CATALOG, *DOWNLOAD_COMMANDS]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown data set {name!r}; known are {', '.join(known)}{hint}")
