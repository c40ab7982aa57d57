"""Text for language models: a dictionary of tokens, a corpus as one long row of numbers, and windows to train on.

A recurrent model reads a corpus in ``batch_size`` streams side by side (:func:`batchify`), a window of ``length`` steps
at a time; the next window goes on where the last ended, so that the state can be carried over (truncated
back-propagation through time, R. J. Williams and J. Peng, "An Efficient Gradient-Based Algorithm for On-Line Training
of Recurrent Network Trajectories", 1990).
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..core.errors import DataError

__all__ = ["Dictionary", "batchify", "bptt_windows", "load_ptb", "read_tokens"]

EOS = "<eos>"  # ends each line


class Dictionary:
    """Tokens and their numbers, from 0 in the order of their first appearance.

    >>> words = Dictionary("the cat saw the dog".split())
    >>> words.encode(["the", "dog"])
    array([0, 3])
    >>> words.decode([1, 2])
    ['cat', 'saw']
    >>> len(words), "cow" in words
    (4, False)
    """

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self.tokens = list(dict.fromkeys(tokens))
        self._numbers = {token: i for i, token in enumerate(self.tokens)}

    def encode(self, tokens: Iterable[str], unknown: str | None = None) -> np.ndarray:
        """The numbers of tokens, int64; of those that the dictionary has not, the number of ``unknown``.

        Raises DataError for such a token where ``unknown`` is None.
        """
        try:
            if unknown is None:
                return np.array([self._numbers[t] for t in tokens], np.int64)
            other = self._numbers[unknown]
            return np.array([self._numbers.get(t, other) for t in tokens], np.int64)
        except KeyError as error:
            raise DataError(f"the dictionary of {len(self)} tokens has no {error.args[0]!r}") from None

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The tokens of numbers. Raises DataError for a number that stands for none."""
        found = [int(i) for i in numbers]
        for i in found:
            if not 0 <= i < len(self.tokens):
                raise DataError(f"the dictionary of {len(self)} tokens has no number {i}")
        return [self.tokens[i] for i in found]

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def __repr__(self) -> str:
        return f"Dictionary of {len(self)} tokens"


def read_tokens(path: str | os.PathLike[str], max_lines: int | None = None) -> list[str]:
    """The words of a UTF-8 text file, with ``<eos>`` after each line.

    Raises DataError if the file is missing, unreadable or not text.
    """
    path = Path(path)
    tokens: list[str] = []
    try:
        with path.open(encoding="utf-8") as file:
            for i, line in enumerate(file):
                if i == max_lines:
                    break
                tokens += [*line.split(), EOS]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    return tokens


def load_ptb(
    directory: str | os.PathLike[str], max_lines: int | None = None
) -> tuple[Dictionary, np.ndarray, np.ndarray, np.ndarray]:
    """Load the Penn Treebank text from ``ptb.train.txt``, ``ptb.valid.txt`` and ``ptb.test.txt`` of a folder.

    Returns:
        ``(dictionary, train, valid, test)``: the dictionary of the training text, and the three texts as int64 arrays of
        rank 1, ``<eos>`` after each line; with ``max_lines``, of that many lines each.

    Raises:
        DataError: a file is missing or not text, or holds a word that neither the training text nor its ``<unk>`` covers.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory")
    train, valid, test = (read_tokens(directory / f"ptb.{part}.txt", max_lines) for part in ("train", "valid", "test"))
    words = Dictionary(train)
    unknown = "<unk>" if "<unk>" in words else None
    return words, words.encode(train), words.encode(valid, unknown), words.encode(test, unknown)


def batchify(tokens: np.ndarray, batch_size: int) -> np.ndarray:
    """A row of numbers as ``batch_size`` streams side by side: shape ``(len(tokens) // batch_size, batch_size)``.

    Column j continues down; what does not fill a row is left out. Raises DataError if there are too few tokens.

    >>> batchify(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1:
        raise DataError(f"batchify takes tokens of rank 1, not of shape {tokens.shape}")
    if not 1 <= batch_size <= len(tokens):
        raise DataError(f"{len(tokens)} tokens cannot be cut into {batch_size} streams")
    steps = len(tokens) // batch_size
    return tokens[: steps * batch_size].reshape(batch_size, steps).T.copy()


def bptt_windows(
    streams: np.ndarray, length: int, *, drop_last: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Windows of ``length`` steps and what follows each step: pairs of arrays of shape ``(length, batch_size)``.

    The last window may be shorter; with ``drop_last`` it is left out, so that a jitted step sees one shape. Raises
    DataError if not a single window fits.

    >>> inputs, targets = next(bptt_windows(batchify(np.arange(10), 2), 3))
    >>> inputs.T
    array([[0, 1, 2],
           [5, 6, 7]])
    >>> targets.T
    array([[1, 2, 3],
           [6, 7, 8]])
    """
    steps = len(streams) - 1  # the last token follows, but nothing follows it
    if length < 1 or steps < (length if drop_last else 1):
        raise DataError(f"streams of {len(streams)} tokens hold no window of {length} steps with their next tokens")
    starts = range(0, steps - length + 1 if drop_last else steps, length)
    ends = (min(i + length, steps) for i in starts)
    return ((streams[i:end], streams[i + 1 : end + 1]) for i, end in zip(starts, ends))
