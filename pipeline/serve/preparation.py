"""What `serve` makes first: clusters, indexes, a hierarchy with all rows assigned to it, a map."""

from ...stages.assign import Assign
from ...stages.map import Map
from ...store import Artifact, ConfigError, MissingError
from ..making.jobs import Job, find_or_make
from ..making.plan import Plan
from ..view.searcher import has_faiss
from .tree import LEVELS, Tree


def prepare(plan: Plan) -> None:
    """Makes what the run lacks for the page and reports it; what exists is only looked up."""
    plan.make("assignments", asked_by="serve")
    for space in ("features", "embeddings"):
        plan.make(f"index/{space}" if has_faiss() else space, asked_by="serve")
    _renew_captions(plan)
    hierarchy = plan.make("hierarchy", asked_by="serve")
    if hierarchy.rows > 1:
        _put_rows_into(plan, hierarchy)


def _renew_captions(plan: Plan) -> None:
    """Makes captions that are out of date again; a run that never had any stays without.

    If the model is not available, the clusters are shown without captions.
    """
    if plan.find("captions") is None:
        return
    try:
        plan.make("captions", asked_by="serve")
    except (ConfigError, MissingError) as error:
        plan.say(f"serve: the clusters have no captions: {error}")


def make_map(plan: Plan, stage: Map, *, asked_by: str = "") -> Artifact:
    """The projection that a stage makes for a run; made unless it exists."""
    inputs = {kind: plan.make(kind, asked_by=asked_by or "map") for kind in stage.needs}
    job = Job(
        slot="projection", stage=stage, inputs=inputs, runtime=plan.runtime, asked_by=asked_by
    )
    return find_or_make(job, plan.store, plan.run, plan.settings.tables(), plan.say)


def _put_rows_into(plan: Plan, hierarchy: Artifact) -> None:
    """Assigns all rows at the finest level of the hierarchy and at some coarser ones."""
    merged = hierarchy.table(hierarchy.parts[0].name).slice(1)
    tree = Tree(merged.column("left").to_pylist(), merged.column("right").to_pylist())
    stage = Assign(k=tree.kept_levels, method="hierarchy")
    inputs = {kind: plan.make(kind, asked_by="serve") for kind in stage.needs}
    job = Job(slot=LEVELS, stage=stage, inputs=inputs, runtime=plan.runtime, asked_by="serve")
    find_or_make(job, plan.store, plan.run, plan.settings.tables(), plan.say)
