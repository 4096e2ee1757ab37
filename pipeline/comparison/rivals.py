"""Rivals: other ways to cluster the same embeddings, with the settings that users would take."""

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...stages.contract import Progress
from ...stages.rows.artifact_rows import gather
from ...store import ConfigError
from ...store.errors import first_line
from ..view.evaluation import centred_unit_rows
from ..wording import counted
from .image_set import ImageSet
from .partition import Partition, score

_NEIGHBOURS = 10
"""Neighbours of a row in the graph of spectral clustering."""

_FEWEST = 20
"""Fewest images for rivals: with fewer, some of them cannot run."""

_TRIAL_ROWS = 200
"""Rows of the fit that only compiles a rival."""


@dataclass(frozen=True)
class Rival:
    """A way to cluster rows (n, d) of length one into k clusters."""

    fit: Callable[[np.ndarray, int, int], np.ndarray]
    """Rows, k and a seed: the cluster of each row."""
    is_random: bool
    """Whether another seed may give other clusters."""
    most_rows: int
    """Most rows: more would take hours, or the memory of a large machine."""
    module: str = "sklearn"
    """The module that it needs."""
    install: str = ""
    """How to install the module."""
    compiles: bool = False
    """Whether its first fit compiles it, which its seconds must not include."""

    @property
    def is_installed(self) -> bool:
        """Whether its module is installed."""
        return importlib.util.find_spec(self.module) is not None

    def why_absent(self) -> str:
        """Why it cannot be fitted here; empty if it can. Imports its package."""
        if not self.is_installed:
            return self.install
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # of libraries that it could use, and that are missing
                importlib.import_module(self.module)
        except (ImportError, AttributeError, OSError, RuntimeError, SystemError) as error:
            # As where it was built for other versions of what it needs.
            return f"{self.module} cannot be imported ({first_line(error)})"
        return ""


def _kmeans(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    from ...stages.algorithms.clustering.convergence import ignoring_convergence

    with ignoring_convergence():  # warns if there are fewer distinct rows than clusters
        return KMeans(k, n_init=10, random_state=seed).fit_predict(x)


def _ward(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import AgglomerativeClustering

    return AgglomerativeClustering(k).fit_predict(x)


def _spectral(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import SpectralClustering

    model = SpectralClustering(
        k, affinity="nearest_neighbors", n_neighbors=_NEIGHBOURS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # warns if the graph has several pieces
        return model.fit_predict(x)


def _hdbscan(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(copy=True).fit_predict(x)


def _umap_hdbscan(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The clustering of BERTopic (Grootendorst, arXiv 2203.05794), with its settings."""
    from sklearn.cluster import HDBSCAN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its single thread
        umap = importlib.import_module("umap")
        narrow = umap.UMAP(
            n_neighbors=min(15, len(x) - 1),
            n_components=5,
            min_dist=0.0,
            metric="cosine",
            random_state=seed,
        ).fit_transform(x)
    return HDBSCAN(min_cluster_size=10, copy=True).fit_predict(narrow)


def _evoc(x: np.ndarray, k: int, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("evoc").EVoC(random_state=seed).fit_predict(x)


RIVALS: Mapping[str, Rival] = {
    "k-means": Rival(_kmeans, True, 1_000_000),
    "Ward": Rival(_ward, False, 20_000),
    "spectral": Rival(_spectral, True, 50_000),
    "HDBSCAN": Rival(_hdbscan, False, 50_000),
    "UMAP + HDBSCAN": Rival(
        _umap_hdbscan, True, 100_000, "umap", "pip install 'cpp-pipe[map]' installs UMAP", True
    ),
    "EVoC": Rival(_evoc, True, 1_000_000, "evoc", "pip install evoc", True),
}
"""The rivals by the names that tables show. HDBSCAN, UMAP + HDBSCAN and EVoC ignore k, and call
some rows noise."""


def require_enough(images: int, k: int | None) -> None:
    """ConfigError where rivals cannot make k clusters of so many images; None is any k."""
    if images < _FEWEST or (k is not None and k >= images):
        which = "" if k is None else f" and k = {k}"
        fewer = "" if images < _FEWEST else "name fewer with `compare --k`, or "
        raise ConfigError(
            f"rivals need at least {_FEWEST} images, and fewer clusters than images: got "
            f"{counted(images, 'image')}{which}: {fewer}leave --rivals out (from Python rivals=)"
        )


def fit_rivals(
    images: ImageSet,
    k: int,
    seeds: int,
    progress: Progress,
    say: Callable[[str], None],
    suffix: str = "",
) -> Iterator[Partition]:
    """The clusters of each rival on centred embeddings of length one, for seeds from 0.

    Rivals without random draws are fitted once. `say` gets a sentence for each that is left out.
    """
    n = len(images)
    require_enough(n, k)
    fitting: dict[str, Rival] = {}
    for name, rival in RIVALS.items():
        if n > rival.most_rows:
            say(f"{name} is left out: {counted(n, 'row')} are too many for it")
        elif why := rival.why_absent():
            say(f"{name} is left out: {why}")
        else:
            fitting[name] = rival
            if rival.compiles:
                say(f"{name} compiles itself first, which may take minutes")
    if not fitting:
        return
    embeddings = gather(images.embeddings).astype(np.float32)
    x = centred_unit_rows(embeddings, embeddings.mean(axis=0))
    runs = [(name, seed) for name, rival in fitting.items()
            for seed in range(seeds if rival.is_random else 1)]  # fmt: skip
    progress.start("compare: rivals", len(runs), "fits")
    for name, seed in runs:
        if fitting[name].compiles and seed == 0:
            fitting[name].fit(x[:_TRIAL_ROWS], min(k, _FEWEST // 2), seed)
        started = time.monotonic()
        clusters = fitting[name].fit(x, k, seed).astype(np.int64)
        seconds = time.monotonic() - started
        progress.advance(1, note=name)
        yield Partition(
            name=f"{name}{suffix}",
            images=images,
            clusters=clusters,
            k=len(np.unique(clusters[clusters >= 0])),
            scores=score(images, clusters),
            seconds=seconds,
            seed=seed if fitting[name].is_random else None,
            is_rival=True,
        )
    progress.end()


def describe_noise(fits: Sequence[Partition]) -> list[str]:
    """A sentence on the rows that a rival puts in no cluster, for each that has such rows."""
    shares: dict[str, list[float]] = {}
    for fit in fits:
        shares.setdefault(fit.name, []).append(float((fit.clusters < 0).mean()))
    return [
        f"{name} leaves {_range(own)} of the images out as noise, which is scored as one cluster"
        for name, own in shares.items()
        if any(own)
    ]


def _range(shares: Sequence[float]) -> str:
    """Shares in per cent, from the least to the most."""
    least, most = f"{min(shares):.0%}", f"{max(shares):.0%}"
    if most == "0%":
        return "less than 1%"
    return least if least == most else f"{least} to {most}"
