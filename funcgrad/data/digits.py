"""The 8x8 hand-written digits of the UCI repository, shipped with the library (``digits.md`` has their origin)."""

from importlib import resources

import numpy as np

__all__ = ["load_digits"]

_PIXEL_MAX = 16  # a pixel counts the ink in a 4x4 block of the scanned bitmap


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Load the 1,797 images of hand-written digits, 8 by 8 pixels each.

    Returns:
        ``(images, labels)``: images of shape ``(1797, 64)`` and dtype float32, one row-major image a row, 0 for paper
        and 1 for ink; labels of shape ``(1797,)`` and dtype int64, from 0 to 9.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998, doi:10.24432/C50P49 (the test part), licensed CC BY 4.0.

    >>> images, labels = load_digits()
    >>> images.shape, images.dtype, labels.dtype
    ((1797, 64), dtype('float32'), dtype('int64'))
    >>> labels[:10]
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """
    with resources.files("funcgrad.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return images.astype(np.float32) / np.float32(_PIXEL_MAX), labels.astype(np.int64)
