"""The curve of coding lengths by k of a run, as report, page and terminal draw it."""

from ...stages.k_curve import CurvePoint, KCurve
from ...store import Artifact

__all__ = ["CurvePoint", "KCurve", "read_curve"]


def read_curve(curve: Artifact) -> KCurve:
    """The curve that a `k_curve` holds."""
    return KCurve.of(curve.table(curve.only_part).to_pydict())
