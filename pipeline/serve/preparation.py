"""What is made before a run is served: clusters, indexes, a hierarchy with rows, and a map."""

from ...stages.assign import Assign
from ...stages.map import Map
from ...store import Artifact, ConfigError, MissingError
from ..making.plan import Plan
from ..view.searcher import has_faiss
from .tree import LEVELS, Tree


def prepare(plan: Plan) -> None:
    """Makes what the run lacks, and says so; what is there already costs a look."""
    plan.make("assignments", asked_by="serve")
    for space in ("features", "embeddings"):
        plan.make(f"index/{space}" if has_faiss() else space, asked_by="serve")
    _renew_captions(plan)
    hierarchy = plan.make("hierarchy", asked_by="serve")
    if hierarchy.rows > 1:
        _put_rows_into(plan, hierarchy)


def _renew_captions(plan: Plan) -> None:
    """Names the clusters again where they were named before and are others now.

    Where the model is not at hand they stay without names, as they would without a command.
    """
    if plan.find("captions") is None:
        return
    try:
        plan.make("captions", asked_by="serve")
    except (ConfigError, MissingError) as error:
        plan.say(f"serve: the clusters have no names: {error}")


def make_map(plan: Plan, stage: Map, *, asked_by: str = "") -> Artifact:
    """The projection of a run: that of the stage, made if it is not there."""
    return plan.make("projection", stage=stage, asked_by=asked_by)


def _put_rows_into(plan: Plan, hierarchy: Artifact) -> None:
    """Assigns all rows at the finest level of the hierarchy, and at some coarser ones."""
    merged = hierarchy.table(hierarchy.only_part).slice(1)
    tree = Tree(merged.column("left").to_pylist(), merged.column("right").to_pylist())
    stage = Assign(k=tree.kept_levels, method="hierarchy")
    plan.make(LEVELS, stage=stage, asked_by="serve")
