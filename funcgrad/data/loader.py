"""Batches of a data set, in an order that a key and the number of the epoch determine.

A loader has no state: ``loader.epoch(3)`` is the same batches whenever it is asked for, on every machine, so that a
training goes on after a break as if there had been none.
"""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from funcgrad import random, tree

from ..core.errors import DataError
from .transforms import Transform

__all__ = ["DataLoader", "Dataset", "prefetch"]


@dataclass(frozen=True)
class Dataset:
    """Examples: a pytree of arrays that share their first axis, such as ``(images, labels)``.

    Raises DataError if there is no array, or their lengths differ.

    >>> data = Dataset({"x": np.zeros((5, 2)), "y": np.arange(5)})
    >>> len(data), data[1:3]["y"]
    (5, array([1, 2]))
    """

    arrays: Any

    def __post_init__(self) -> None:
        lengths = {tree.keystr(path): np.shape(x)[:1] for path, x in tree.leaves_with_path(self.arrays)}
        if not lengths:
            raise DataError("a data set holds at least one array")
        first, *others = lengths.items()
        for path, length in (first, *others):
            if not length:
                raise DataError(f"a data set holds arrays of examples; {path or 'its only leaf'} has rank 0")
            if length != first[1]:
                raise DataError(
                    f"the arrays of a data set share their first axis; {first[0]} has {first[1][0]} examples, "
                    f"{path} has {length[0]}"
                )

    def __len__(self) -> int:
        return len(tree.leaves(self.arrays)[0])

    def __getitem__(self, index: Any) -> Any:
        """The examples at an integer, a slice or an array of integers, as a pytree of the same structure."""
        return tree.map(lambda x: x[index], self.arrays)


@dataclass(frozen=True)
class DataLoader:
    """Batches of a data set.

    Args:
        dataset: a :class:`Dataset`, or a pytree of arrays that makes one.
        batch_size: examples in a batch.
        key: a random key shuffles the examples, anew for each epoch; without one they keep their order.
        drop_last: leave out a last batch that is smaller, so that a jitted step sees one shape.
        transform: a function ``(key, batch) -> batch``, applied to every batch; needs a ``key``.
        shard: ``(index, count)``: this loader gives every count-th example of the (shuffled) order, from the index-th
            on; what does not fill all shards alike is left out.
        prefetch: how many batches a thread prepares ahead; 0 for none.

    Raises:
        DataError: a number is out of range, or a transform has no key.

    >>> loader = DataLoader(np.arange(10), batch_size=4, key=random.key(0), drop_last=True)
    >>> len(loader)
    2
    >>> [batch.shape for batch in loader.epoch(0)]
    [(4,), (4,)]
    >>> all((a == b).all() for a, b in zip(loader.epoch(1), loader.epoch(1)))
    True
    """

    dataset: Any
    batch_size: int
    key: Any = None
    drop_last: bool = False
    transform: Transform | None = None
    shard: tuple[int, int] = (0, 1)
    prefetch: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.dataset, Dataset):
            object.__setattr__(self, "dataset", Dataset(self.dataset))
        index, count = self.shard
        if not 0 <= index < count:
            raise DataError(f"shard is (index, count) with 0 <= index < count, not {self.shard}")
        if self.transform is not None and self.key is None:
            raise DataError("a transform draws at random: give the loader a key")
        if self.prefetch < 0:
            raise DataError(f"prefetch is at least 0, not {self.prefetch}")
        examples = len(self.dataset) // count
        if not 1 <= self.batch_size <= max(examples, 0 if self.drop_last else self.batch_size):
            raise DataError(f"batch_size {self.batch_size} does not fit {examples} examples")

    def __len__(self) -> int:
        """The batches of an epoch."""
        examples = len(self.dataset) // self.shard[1]
        return examples // self.batch_size if self.drop_last else -(-examples // self.batch_size)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from the ``start``-th on."""
        batches = self._batches(epoch, start)
        return prefetch(batches, self.prefetch) if self.prefetch else batches

    def __iter__(self) -> Iterator[Any]:
        """The batches in their order. Raises TypeError for a loader that shuffles: which epoch would it be?"""
        if self.key is not None:
            raise TypeError("a loader with a key has another order each epoch: write `for batch in loader.epoch(i)`")
        return self.epoch()

    def _batches(self, epoch: int, start: int) -> Iterator[Any]:
        index, count = self.shard
        order, epoch_key = np.arange(len(self.dataset)), None
        if self.key is not None:
            shuffle_key, epoch_key = random.split(random.fold_in(self.key, epoch))
            order = np.asarray(random.permutation(shuffle_key, len(order)))
        order = order[: len(order) // count * count][index::count]
        for i in range(start, len(self)):
            batch = self.dataset[order[i * self.batch_size : (i + 1) * self.batch_size]]
            yield self.transform(random.fold_in(epoch_key, i), batch) if self.transform is not None else batch


_END = object()


def prefetch(items: Iterator[Any], size: int) -> Iterator[Any]:
    """The items of an iterator, prepared up to ``size`` ahead by a thread.

    An exception in the iterator is raised where its item would have come. The thread ends with the iterator, or when
    the consumer stops asking.

    >>> list(prefetch(iter(range(3)), 2))
    [0, 1, 2]
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((item, error), timeout=0.05)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                if stopped.is_set():
                    return
                put(item)
            put(_END)
        except BaseException as error:
            put(_END, error)

    thread = threading.Thread(target=produce, name="funcgrad-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
