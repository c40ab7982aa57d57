"""Data: sets that ship with the library or are fetched, readers for their files, and batches of them.

Everything returned is a plain ``numpy.ndarray``; a file that cannot be used raises ``DataError``.
"""

from ..core.errors import DataError
from .cifar import load_cifar10, load_cifar100
from .digits import load_digits
from .download import download, fetch
from .idx import load_mnist, read_idx
from .loader import DataLoader, Dataset, prefetch
from .text import Dictionary, batchify, bptt_windows, load_ptb, read_tokens
from .transforms import compose, normalize, random_crop, random_flip

__all__ = [
    "DataError",
    # files
    "download", "fetch", "load_cifar10", "load_cifar100", "load_digits", "load_mnist", "load_ptb", "read_idx",
    # batches
    "DataLoader", "Dataset", "compose", "normalize", "prefetch", "random_crop", "random_flip",
    # text
    "Dictionary", "batchify", "bptt_windows", "read_tokens",
]  # fmt: skip
