"""The verdict of `select-k` on the number of clusters: one sentence, the same everywhere."""

from dataclasses import dataclass

from ...store import Artifact
from ..wording import agreeing, counted
from .curve import KCurve, read_curve

HARDLY = 0.02
"""If the shortest code saves a smaller share than this, it sees hardly any clusters."""


@dataclass(frozen=True, kw_only=True)
class KVerdict:
    """The number of clusters, and how sure it is."""

    k: int
    """The number that is chosen, which every drawing of the curve marks."""
    sentence: str
    """The k and its rule, what the other rule says, and how sure it is; without a full stop."""
    advice: str
    """Advice for the user; empty if there is nothing to do."""


def read_verdict(curve: Artifact) -> KVerdict:
    """The verdict that a `k_curve` holds."""
    return judge(read_curve(curve), curve)


def judge(curve: KCurve, artifact: Artifact) -> KVerdict:
    """The verdict on a curve that was read from an artifact."""
    facts = artifact.facts
    # Curves of earlier versions were judged by the code alone, without a second opinion.
    is_by_code = facts.get("decided_by", "code") == "code"
    k, best = int(facts["chosen"]), curve.shortest
    low, high = facts.get("span_low", k), facts.get("span_high", k)
    saved = 1 - best.nats / facts["one_cluster_nats"] if facts["one_cluster_nats"] else 0.0
    side = "shorter" if saved >= 0 else "longer"
    code = (
        f"{counted(best.k, 'cluster')} {agreeing(best.k, 'makes', 'make')} the shortest code, "
        f"{abs(saved):.1%} {side} than one cluster for all"
    )
    if is_by_code:
        others = _by_code(curve, facts["resamples"], facts.get("bic"))
    else:
        clear = artifact.manifest.config["clear"]
        others = [f"less than the {clear:.0%} from which the code decides"]
        others = ["so the code does not decide"] if saved < 0 else others if saved < clear else []
    rule = "the shortest code" if is_by_code else "the highest BIC of k-means"
    sentence = "; ".join(
        [
            f"{counted(k, 'cluster')}, by {rule}: " + ", ".join([code, *others]),
            *_second_opinion(facts.get("communities"), k, low, high),
        ]
    )
    advice = ""
    if not is_by_code:
        advice = "if you know a better number, give it"
    elif saved < HARDLY:
        advice = "so the code sees no clear number in these rows: give one"
    return KVerdict(k=k, sentence=sentence, advice=advice)


def _by_code(curve: KCurve, resamples: int, bic: int | None) -> list[str]:
    """What the BIC says, if it was measured, and how sure the code is."""
    claims = [] if bic is None else [f"the BIC of k-means says {bic}"]
    if not resamples:
        return [*claims, "how sure was not measured"]
    votes = round((curve.shortest.votes or 0) * resamples)
    good = [point.k for point in curve.points if point.is_as_good]
    range_ = f"{good[0]} to {good[-1]} are as good" if len(good) > 1 else "no other k is as good"
    curves = f"{counted(resamples, 'resampled curve')} {agreeing(votes, 'is', 'are')}"
    return [*claims, f"{votes} of {curves} the lowest there", range_]


def _second_opinion(communities: int | None, k: int, low: int, high: int) -> list[str]:
    """What the number of communities says, if it was counted."""
    if communities is None:
        return []
    if communities == k:
        return ["a second opinion (Leiden communities) says the same"]
    opinion = f"a second opinion (Leiden communities) says {communities}"
    return [f"{opinion}; the two range from {low} to {high}"]
