"""Concatenated views, and guide words that attract the images they describe."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpp_pipe.stages.algorithms.clustering.kmeans import breathing_kmeans, nearest
from cpp_pipe.stages.algorithms.heads import unit_rows
from cpp_pipe.stages.algorithms.metrics import accuracy
from cpp_pipe.stages.algorithms.training import Trainer, project
from cpp_pipe.stages.algorithms.training_config import TrainingConfig
from cpp_pipe.stages.algorithms.views import View, view_directions
from cpp_pipe.stages.algorithms.votes import guide_rows
from cpp_pipe.stages.algorithms.whitening import neighbour_directions

from ...strategies import random_unit_rows, seeds


def find(rows):
    """The initial directions of one view."""
    return neighbour_directions(rows, 6, seed=0)


@given(seed=seeds, share=st.floats(0.05, 0.95), scale=st.floats(1e-2, 1e2))
def test_each_view_has_its_share_whatever_its_scale(seed, share, scale):
    rows = torch.cat(
        [random_unit_rows(40, 8, seed), scale * random_unit_rows(40, 5, ~seed % 2**32)], 1
    )
    mean, directions = view_directions(rows, [View(8, share), View(5, 1 - share)], find)
    squares = ((rows - mean) @ directions.mT).square()
    assert squares[:, :6].sum(1).mean() == pytest.approx(share, rel=1e-5)
    assert squares[:, 6:].sum(1).mean() == pytest.approx(1 - share, rel=1e-5)


def test_a_constant_view_becomes_zero():
    rows = torch.cat([random_unit_rows(40, 8, 0), torch.ones(40, 3, dtype=torch.float64)], 1)
    mean, directions = view_directions(rows, [View(8, 0.5), View(3, 0.5)], find)
    alone = find(rows[:, :8])
    found = unit_rows((rows - mean) @ directions.mT)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[:, :6], unit_rows((rows[:, :8] - alone[0]) @ alone[1].mT))


def test_one_view_starts_like_plain_embeddings():
    rows, config = random_unit_rows(60, 8, 0).float(), TrainingConfig(features=4)
    one = Trainer(rows, config, "cpu", [View(8, 1.0)])
    plain = Trainer(rows, config, "cpu")
    assert torch.equal(project(one.heads, rows, 60)[0], project(plain.heads, rows, 60)[0])


def test_heads_on_two_views_can_be_trained():
    rows = torch.cat([random_unit_rows(60, 8, 0), random_unit_rows(60, 6, 1)], 1).float()
    config = TrainingConfig(features=4, hidden=8, batch=30, epochs=2)
    trainer = Trainer(rows, config, "cpu", [View(8, 0.5), View(6, 0.5)])
    before = project(trainer.heads, rows, 60)[0]
    assert before.shape == (60, 8)
    trainer.step()
    trainer.step()
    assert not torch.equal(project(trainer.heads, rows, 60)[0], before)


@given(seed=seeds, words=st.integers(2, 9))
def test_an_image_equal_to_a_word_gets_that_word(seed, words):
    t = torch.linalg.qr(random_unit_rows(12, 12, seed))[0][:words]
    found = guide_rows(t, t)
    torch.testing.assert_close(found, unit_rows(t - t.mean(0)), atol=1e-6, rtol=0)


def test_no_images_give_no_guide_rows():
    t = random_unit_rows(3, 5, 0)
    assert guide_rows(t[:0], t).shape == (0, 5)


def test_clusters_follow_what_the_words_of_a_guide_name():
    """Images differ strongly in shape and weakly in colour: by default clusters are shapes."""
    rng = np.random.default_rng(0)
    colour, shape = rng.integers(0, 4, 600), rng.integers(0, 4, 600)
    axes = np.linalg.qr(rng.standard_normal((64, 64)))[0]
    x = axes[:4][shape] + 0.5 * axes[4:8][colour] + 0.06 * rng.standard_normal((600, 64))
    x = unit_rows(torch.from_numpy(x).float())
    words = torch.from_numpy(axes[4:8]).float()

    def clusters(rows, views):
        trainer = Trainer(rows, TrainingConfig(features=16), "cpu", views)
        z = project(trainer.heads, rows, 600)[0].float().numpy()
        return nearest(z, breathing_kmeans(z, 4, 0))

    alone = clusters(x, [View(64, 1.0)])
    rows = torch.cat([x, guide_rows(x, words)], 1)
    guided = clusters(rows, [View(64, 0.3), View(64, 0.7)])
    assert accuracy(colour, guided) > 0.95 > accuracy(colour, alone) + 0.3
