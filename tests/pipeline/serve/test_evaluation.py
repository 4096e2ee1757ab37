"""Scores of a run that is served: of the clusters that the page shows, or none."""

import sys

from cpp_pipe import Run
from cpp_pipe.pipeline.serve.evaluation import Evaluation
from cpp_pipe.pipeline.serve.open_run import OpenRun

from ...waiting import wait_until
from ..cli import succeed


def test_scores_that_cannot_be_computed_are_not_waited_for_forever(finished, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    opened, evaluation = OpenRun(Run.open(finished)), Evaluation()
    wait_until(lambda: evaluation.state(opened).state != "working", "an answer", 20)
    state = evaluation.state(opened)
    opened.close()
    assert state.state == "absent" and "No such file" in state.detail


def test_scores_of_other_clusters_are_not_shown(own_store):
    """The run was pointed elsewhere after it was opened, and the new clusters were scored."""
    opened, evaluation = OpenRun(Run.open(own_store)), Evaluation()
    succeed(own_store, "assign", "--k", "4")
    wait_until(lambda: evaluation.state(opened).state != "working", "an answer", 60)
    state = evaluation.state(opened)
    opened.close()
    assert state.state == "absent" and state.detail.startswith("the run has changed")
