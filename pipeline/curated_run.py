"""A run whose images are chosen: near-duplicates, outliers, scores, samples, copies."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..store.paths import expanded
from .arguments import at_least_one, several, texts, whole
from .curation.near_duplicates import make_tier
from .curation.outliers import outlier_table, rank_outliers
from .curation.scores import make_scores
from .destinations import require_folder
from .edits.sealed_edits import seal
from .view.keys import with_parts
from .working_run import WorkingRun

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from .curation.shard_writer import WrittenShards


class CuratedRun(WorkingRun):
    """A run with a method for each way to choose images."""

    def duplicates(self, *, above: float | None = None, tier: str = "alike") -> "pa.Table":
        """Near-duplicates: a row for each image of a group, and whether it is the one to keep.

        `tier` is identical (files of equal bytes), same (copies of one image) or alike (similar
        embeddings); `above` is the least similarity, by default that of the tier or the model.
        """
        with self._showing_progress():
            groups = make_tier(self._plan(), tier, above)
        self._reload()
        return with_parts(self.artifact("embeddings"), groups.table(groups.only_part))

    def outliers(self, n: int | None = None) -> "pa.Table":
        """The images that are far from every cluster, the farthest first; all of them without n.

        `distance` is 1 minus the cosine between the embedding of an image and the mean of the
        nearest cluster, without the image itself.
        """
        n = None if n is None else whole(n, "n", least=1)
        self._make_needed("assignments", "outliers")
        embeddings, assignments = self.artifact("embeddings"), self.artifact("assignments")
        ranking = rank_outliers(embeddings, assignments)
        return outlier_table(ranking, embeddings, assignments, self.show("captions"), n)

    def score(
        self,
        name: str | None = None,
        *,
        text: str | None = None,
        unlike: str | None = None,
        head: str | Path | None = None,
    ) -> Self:
        """Gives each image a score, which `scores` reads and `where` filters by.

        `text` scores how similar images are to it, compared with random words or with the text
        `unlike`; `head` is a .safetensors file of a linear head over embeddings. Both need a
        `name`. Without arguments images are measured: sharpness, brightness, contrast,
        colourfulness, megapixels, aspect.
        """
        with self._showing_progress():
            file = None if head is None else expanded(head)
            make_scores(self._plan(), name=name, text=text, unlike=unlike, head=file)
        return self._reload()

    def seal(self, name: str, *, replaces: bool = False) -> Self:
        """Saves the decisions that hold now under a name, which `edits="NAME"` applies.

        ConfigError if other decisions have the name, unless this call `replaces` them.
        """
        with self._showing_progress():
            seal(self._plan(), name, replaces=replaces)
        return self._reload()

    def sample(
        self,
        n: int = 1000,
        strategy: str = "diverse",
        *,
        by: str | None = None,
        beside: str | Path | None = None,
        seed: int = 0,
        edits: str | None = None,
        where: str | Sequence[str] | None = None,
    ) -> "np.ndarray":
        """The rows of n images that stand for all of them, or of images to review, best first.

        `strategy` is diverse, typical, balanced, doubtful, novel, or several with their parts:
        "diverse=3,novel=1". `by` is what `balanced` balances: label, caption or a JSON field; by
        default clusters. `beside` is a file of keys that are chosen already. The same seed chooses
        the same images. Fewer than n if fewer may be chosen.
        """
        from .curation.pools import open_pool, read_strategy
        from .curation.sampling import choose_sample

        n, shares = whole(n, "n", least=1), read_strategy(strategy)
        with self._showing_progress():
            pool = open_pool(
                self._plan(),
                by=by,
                beside=None if beside is None else expanded(beside),
                seed=whole(seed, "seed", least=0),
                edits=edits,
                where=several(where),
            )
        self._reload()
        return choose_sample(pool, n, shares)

    def curate(
        self,
        folder: str | Path,
        *,
        cluster: int | Sequence[int] | None = None,
        caption: str | Sequence[str] | None = None,
        min_confidence: float = 0.0,
        keys: str | Path | None = None,
        not_keys: str | Path | None = None,
        drop_duplicates: bool = False,
        tier: str = "alike",
        above: float | None = None,
        tag: str | Sequence[str] | None = None,
        not_tag: str | Sequence[str] | None = None,
        edits: str | None = None,
        where: str | Sequence[str] | None = None,
        samples_per_shard: int = 1000,
    ) -> "WrittenShards":
        """Copies the samples that meet all conditions, byte for byte, into shards in a new folder.

        `caption` may have wildcards: "*dog*". `keys` and `not_keys` are files of keys. `tier` and
        `above` say which duplicates are dropped, as in `duplicates`. `tag` and `not_tag` need
        `edits`. The shards appear when all are complete, with manifest.parquet, which says where
        every sample went.
        """
        from .curation.copying import choose_samples, copy_samples
        from .curation.selection import Conditions

        folder = expanded(folder)
        require_folder(folder, flag="folder")
        samples_per_shard = whole(samples_per_shard, "samples_per_shard", least=1)
        wanted = Conditions(
            clusters=tuple(
                whole(number, "cluster", least=0) for number in at_least_one(cluster, "cluster")
            ),
            captions=texts(caption, "caption"),
            min_confidence=min_confidence,
            keys=None if keys is None else expanded(keys),
            not_keys=None if not_keys is None else expanded(not_keys),
            is_deduplicated=drop_duplicates,
            tags=texts(tag, "tag"),
            not_tags=texts(not_tag, "not_tag"),
        )
        with self._showing_progress():
            plan = self._plan()
            chosen, embeddings = choose_samples(
                plan, wanted, tier=tier, above=above, edits=edits, where=several(where)
            )
            plan.say(chosen.describe())
            written = copy_samples(
                plan,
                chosen,
                embeddings,
                folder,
                samples_per_shard=samples_per_shard,
            )
        self._reload()
        return written
