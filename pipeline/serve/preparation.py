"""Makes what `serve` needs: clusters, indexes, a hierarchy with all rows assigned to it, a map."""

from ...stages.assign import Assign
from ...stages.draw_sprites import DrawSprites
from ...stages.map import Map
from ...stages.rows.merges import read_merges
from ...store import Artifact, ConfigError, MissingError, ShardError
from ..making.plan import Plan
from ..view.searcher import has_faiss
from ..wording import agreeing, counted
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
    return plan.make("projection", stage=stage, asked_by=asked_by)


def make_sprites(plan: Plan, *, asked_by: str = "") -> Artifact | None:
    """The small images that the map is drawn from; made unless they exist.

    None if the images are gone, or were never there: then the map has points only.
    """
    if not plan.settings.data.is_named:
        plan.say("map: drawn without small images, because the embeddings were imported")
        return None
    try:
        sprites = plan.make("sprites", stage=DrawSprites(), asked_by=asked_by)
    except (ConfigError, MissingError, ShardError) as error:
        plan.say(f"map: drawn without small images: {error}")
        return None
    unreadable = sum(int(part.facts["unreadable"]) for part in sprites.parts)
    if unreadable:
        plan.say(
            f"map: {counted(unreadable, 'image')} cannot be read and "
            f"{agreeing(unreadable, 'is a grey square', 'are grey squares')}"
        )
    return sprites


def _put_rows_into(plan: Plan, hierarchy: Artifact) -> None:
    """Assigns all rows at the finest level of the hierarchy and at some coarser ones."""
    left, right = read_merges(hierarchy)
    tree = Tree(left.tolist(), right.tolist())
    stage = Assign(k=tree.kept_levels, method="hierarchy")
    plan.make(LEVELS, stage=stage, asked_by="serve")
