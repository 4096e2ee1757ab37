"""Copies of images: pairs proposed by hashes and by embeddings, confirmed by their pixels."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray

from .bounds import unit
from .confirmation import Confirmation, Confirmed
from .image_hashes import hash_images, near_hashes
from .large_sets import ALL_PAIRS, Read, coarse_of
from .near_duplicates import NONE
from .proposals import propose, propose_in_cells
from .registration import Images


def find_copies(
    images: Images,
    read: Read,
    *,
    threshold: float,
    least_cosine: float,
    neighbours: int,
    report: Callable[[int], None] = lambda images: None,
) -> Confirmed:
    """Finds, among images in order of preference, those that show the same image as an earlier one.

    `read` gives embeddings by the numbers of the images. Hashes find whole copies, embeddings those
    with their edges cut off: all pairs of a small set are compared, and of a large one those in
    near cells, so that its time grows with n log n.
    """
    hashes = hash_images(images)
    confirmation = Confirmation(images, hashes, threshold)
    pairs = near_hashes(hashes)
    further_pairs: Int64[ndarray, "m 2"]
    if len(hashes) > ALL_PAIRS:
        # Copies by hash are confirmed first: many copies of one image would all be in one cell.
        first = confirmation.confirm(pairs)
        places = ((first.kept == NONE) & (hashes != 0)).nonzero()[0]
        coarse = coarse_of(read, places)
        further_pairs = places[propose_in_cells(coarse, hashes[places], least_cosine)]
    else:
        vectors = unit(torch.from_numpy(read(np.arange(len(hashes))))).numpy()
        further_pairs = propose(vectors, neighbours, least_cosine)
    return confirmation.confirm(np.unique(np.concatenate([pairs, further_pairs]), axis=0), report)
