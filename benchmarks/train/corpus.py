"""The text of the language models, and what a model that counts letters makes of it.

The text is what everyone who runs this has: the docstrings of funcgrad, about a third of a million characters of English
with code in it. It grows with the library, so the bounds are not numbers but the cross entropies, on the same held-out
text, of models that count single characters and pairs of them.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import numpy as np

import funcgrad as fg
from funcgrad.data import Dictionary

HELD_OUT = 0.1


class Corpus(NamedTuple):
    """A dictionary of characters, and the numbers of the text to train on and of the text held out."""

    characters: Dictionary
    train: np.ndarray
    test: np.ndarray


def docstrings(file: Path) -> list[str]:
    """Of a module and all that it defines, in their order."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, documented)]
    return list(filter(None, map(ast.get_docstring, nodes)))


def read() -> Corpus:
    """The text, its modules shuffled once for all, so that what is held out is of the same kind; the rest is ASCII."""
    root = Path(fg.__file__).parent
    files = sorted(root.rglob("*.py"), key=lambda file: file.relative_to(root).as_posix())
    modules = ["\n".join(docstrings(file)) for file in files]
    order = np.random.default_rng(0).permutation(len(modules))
    text = "\n".join(modules[i] for i in order).encode("ascii", "replace").decode("ascii")
    characters = Dictionary(text)
    numbers = characters.encode(text)
    cut = round(len(numbers) * (1 - HELD_OUT))
    return Corpus(characters, numbers[:cut], numbers[cut:])


def unigram_bits(corpus: Corpus) -> float:
    """The cross entropy of the held-out text under the frequencies of characters, in bits a character."""
    counts = np.bincount(corpus.train, minlength=len(corpus.characters)) + 1.0
    return float(-np.mean(np.log2(counts / counts.sum())[corpus.test]))


def bigram_bits(corpus: Corpus) -> float:
    """The same under the frequencies of each character after the one before, one of each added (Laplace)."""
    counts = np.ones((len(corpus.characters),) * 2)
    np.add.at(counts, (corpus.train[:-1], corpus.train[1:]), 1.0)
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    return float(np.mean(bits[corpus.test[:-1], corpus.test[1:]]))
