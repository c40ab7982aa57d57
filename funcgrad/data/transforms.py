"""Augmentation and normalisation of batches of images, as pure functions of a key.

A transform is a function ``(key, images) -> images`` on arrays of shape ``(n, height, width, channels)``; one that draws
nothing ignores its key. The factories here make such functions, and :func:`compose` strings them together. The same key
gives the same images, on every machine.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from funcgrad import random

from ..core.errors import DataError

__all__ = ["Transform", "compose", "normalize", "random_crop", "random_flip"]

Transform = Callable[[Any, Any], Any]


def _require_images(name: str, images: Any) -> None:
    if np.ndim(images) != 4:
        raise DataError(f"{name} takes images of shape (n, height, width, channels), not {np.shape(images)}")


def random_crop(padding: int) -> Transform:
    """Shift each image by up to ``padding`` pixels along each axis, by padding it with zeros and cutting it out again.

    Raises DataError for a negative padding, and the transform for what are no images.

    >>> images = np.ones((2, 4, 4, 1), np.float32)
    >>> random_crop(1)(random.key(0), images).shape
    (2, 4, 4, 1)
    """
    if padding < 0:
        raise DataError(f"random_crop: padding is at least 0, not {padding}")

    def transform(key: Any, images: Any) -> Any:
        _require_images("random_crop", images)
        n, height, width, _ = images.shape
        wide = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        corners = np.asarray(random.randint(key, (n, 2), 0, 2 * padding + 1))
        rows = corners[:, :1] + np.arange(height)
        columns = corners[:, 1:] + np.arange(width)
        return wide[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]

    return transform


def random_flip(probability: float = 0.5) -> Transform:
    """Mirror each image left to right with this probability.

    Raises DataError for a probability outside [0, 1], and the transform for what are no images.

    >>> random_flip(1.0)(random.key(0), np.arange(3.0).reshape(1, 1, 3, 1)).ravel()
    array([2., 1., 0.])
    """
    if not 0 <= probability <= 1:
        raise DataError(f"random_flip: a probability is from 0 to 1, not {probability}")

    def transform(key: Any, images: Any) -> Any:
        _require_images("random_flip", images)
        flipped = np.asarray(random.bernoulli(key, probability, (len(images), 1, 1, 1)))
        return np.where(flipped, images[:, :, ::-1], images)

    return transform


def normalize(mean: Any, std: Any) -> Transform:
    """Subtract ``mean`` and divide by ``std``: numbers, or one for each channel. The dtype of the images is kept.

    Raises DataError where a standard deviation is not positive.

    >>> normalize(0.5, 0.25)(None, np.float32([[[[0.0], [1.0]]]])).ravel()
    array([-2.,  2.], dtype=float32)
    """
    if not np.all(np.asarray(std) > 0):
        raise DataError(f"normalize: std must be positive, not {std}")

    def transform(key: Any, images: Any) -> Any:
        dtype = images.dtype
        return (images - np.asarray(mean, dtype)) / np.asarray(std, dtype)

    return transform


def compose(transforms: Sequence[Transform]) -> Transform:
    """One transform that applies ``transforms`` from first to last, each with a key of its own."""

    def transform(key: Any, images: Any) -> Any:
        for i, each in enumerate(transforms):
            images = each(random.fold_in(key, i), images)
        return images

    return transform
