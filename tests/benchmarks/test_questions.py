"""The benchmark `questions` measures what a run does."""

import numpy as np
import pytest

from benchmarks import answers
from benchmarks.ours import SETS, Fitted, load, train
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.spectrum import Spectrum


def test_clusters_are_those_of_default_settings_on_photographs(shared):
    x, y = load(SETS[1])
    x = x[y < 8][::2]
    features = train(x, TrainingConfig(seed=1))
    default = Fitted.of(features, Spectrum(seed=1), 8)
    assert default.affinity == "consensus"
    np.testing.assert_array_equal(answers.cluster(features, 8, 1), default.labels(8))


def test_means_of_known_classes_separate_only_distant_groups():
    y = np.arange(400) % 4
    noise = 0.1 * np.random.default_rng(0).standard_normal((400, 8))
    x = (np.eye(4, 8)[y] + noise).astype(np.float32)
    assert answers._known(x, y, 0) == 1.0
    assert answers._known(x, np.arange(400) // 4 % 4, 0) < 0.4


def test_thinned_classes_have_at_most_the_given_rows():
    y = np.repeat(np.arange(3), [5, 2, 9])
    x = np.arange(16)[:, None]
    rows, labels = answers._thinned(x, y, 4, 0)
    assert np.bincount(labels).tolist() == [4, 2, 4]
    np.testing.assert_array_equal(y[rows[:, 0]], labels)


def test_agreement_is_measured_for_each_pair_of_seeds():
    clusters = [np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1])]
    assert answers.agreement(clusters) == pytest.approx([1, -0.5, -0.5])
