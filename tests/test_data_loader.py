"""Batches: each example once, an order that key and epoch determine, transforms, shards, and the prefetching thread."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funcgrad import random
from funcgrad.data import DataError, DataLoader, Dataset, compose, normalize, prefetch, random_crop, random_flip

KEY = random.key(7)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    shuffled=st.booleans(),
    drop_last=st.booleans(),
    shards=st.integers(1, 3),
    ahead=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_example_comes_once(n, batch_size, shuffled, drop_last, shards, ahead, epoch):
    each = n // shards
    if each < 1 or (drop_last and batch_size > each):
        return
    seen = []
    for i in range(shards):
        loader = DataLoader(
            {"x": np.arange(n), "y": np.arange(n) * 10.0},
            batch_size,
            key=KEY if shuffled else None,
            drop_last=drop_last,
            shard=(i, shards),
            prefetch=ahead,
        )
        batches = list(loader.epoch(epoch))
        assert len(batches) == len(loader)
        assert all(len(b["x"]) == batch_size for b in batches[:-1])
        for b in batches:
            np.testing.assert_array_equal(b["y"], b["x"] * 10.0)
        count = sum(len(b["x"]) for b in batches)
        assert count == (each // batch_size * batch_size if drop_last else each)
        seen += [x for b in batches for x in b["x"].tolist()]
        assert [b["x"].tolist() for b in loader.epoch(epoch, 1)] == [b["x"].tolist() for b in batches[1:]]
    assert len(set(seen)) == len(seen) and set(seen) <= set(range(n))


def test_order():
    def order(key, epoch):
        return np.concatenate(list(DataLoader(np.arange(100), 9, key=key).epoch(epoch))).tolist()

    assert order(None, 0) == order(None, 5) == list(range(100))
    assert order(KEY, 0) == order(KEY, 0) != order(KEY, 1)
    assert order(KEY, 0) != order(random.key(8), 0)
    assert sorted(order(KEY, 3)) == list(range(100))


def test_all_orders_are_equally_likely():
    """The place of each example over 600 epochs: chi-square of 5 x 5 cells, 16 degrees of freedom."""
    loader = DataLoader(np.arange(5), 5, key=KEY)
    counts = np.zeros((5, 5))
    for epoch in range(600):
        counts[np.arange(5), next(loader.epoch(epoch))] += 1
    assert ((counts - 120) ** 2 / 120).sum() < 39.3  # the 0.1 % quantile


def test_batches_are_copies():
    x = np.arange(6)
    next(DataLoader(x, 3).epoch())[:] = -1
    assert x.tolist() == [0, 1, 2, 3, 4, 5]


def test_transform_of_a_batch_is_determined_by_key_epoch_and_number():
    def noise(key, x):
        return x + np.asarray(random.normal(key, x.shape))

    loader = DataLoader(np.zeros(8), 4, key=KEY, transform=noise)
    first, second = loader.epoch(0)
    np.testing.assert_array_equal(first, next(loader.epoch(0)))
    np.testing.assert_array_equal(second, next(loader.epoch(0, 1)))
    assert not np.any(first == second) and not np.any(first == next(loader.epoch(1)))


def test_iteration():
    assert [b.tolist() for b in DataLoader(np.arange(3), 2)] == [[0, 1], [2]]
    with pytest.raises(TypeError, match=r"another order each epoch: write `for batch in loader.epoch\(i\)`"):
        iter(DataLoader(np.arange(3), 2, key=KEY))


class TestPrefetch:
    def test_an_exception_comes_where_its_item_would_have(self):
        def items():
            yield 1
            raise ValueError("broken")

        ahead = prefetch(items(), 3)
        assert next(ahead) == 1
        with pytest.raises(ValueError, match="broken"):
            next(ahead)

    def test_works_ahead_but_no_further_than_asked(self):
        made = []

        def items():
            for i in range(100):
                made.append(i)
                yield i

        ahead = prefetch(items(), 3)
        next(ahead)
        deadline = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert 4 <= len(made) <= 5  # one with the consumer, three in the queue, one in the hand
        ahead.close()

    def test_the_thread_ends_with_its_consumer(self):
        ahead = prefetch(iter(range(1000)), 2)
        next(ahead)
        ahead.close()
        assert not [t for t in threading.enumerate() if t.name == "funcgrad-prefetch"]


class TestTransforms:
    images = np.random.default_rng(0).random((6, 5, 4, 3), dtype=np.float32)

    def test_crops_are_windows_of_the_padded_image(self):
        got = random_crop(2)(KEY, self.images)
        wide = np.pad(self.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        corners = []
        for i in range(6):
            fits = [(a, b) for a in range(5) for b in range(5) if np.array_equal(got[i], wide[i, a : a + 5, b : b + 4])]
            assert len(fits) == 1
            corners += fits
        assert len(set(corners)) > 1 and got.dtype == np.float32
        np.testing.assert_array_equal(got, random_crop(2)(KEY, self.images))
        np.testing.assert_array_equal(random_crop(0)(KEY, self.images), self.images)

    def test_flips_are_mirror_images(self):
        got = random_flip()(KEY, np.tile(self.images, (20, 1, 1, 1)))
        flipped = (got == np.tile(self.images[:, :, ::-1], (20, 1, 1, 1))).all((1, 2, 3))
        same = (got == np.tile(self.images, (20, 1, 1, 1))).all((1, 2, 3))
        assert (flipped ^ same).all() and 35 <= flipped.sum() <= 85 and got.dtype == np.float32

    def test_normalize(self):
        mean, std = self.images.mean((0, 1, 2)), self.images.std((0, 1, 2))
        got = normalize(mean, std)(None, self.images)
        np.testing.assert_allclose(got.mean((0, 1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(got.std((0, 1, 2)), 1, atol=1e-5)
        assert normalize(0.5, 0.5)(None, self.images).dtype == np.float32

    def test_compose_gives_each_a_key_of_its_own(self):
        keys = []
        both = compose([lambda k, x: keys.append(tuple(k)) or x, lambda k, x: keys.append(tuple(k)) or x + 1])
        assert both(KEY, 1) == 2 and keys[0] != keys[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset({}), "at least one array"),
        (lambda: Dataset((np.ones(3), np.ones(4))), r"share their first axis; \[0\] has 3 examples, \[1\] has 4"),
        (lambda: Dataset({"n": 3.0, "x": np.ones(2)}), r"\['n'\] has rank 0"),
        (lambda: DataLoader(np.arange(3), 0), "batch_size 0 does not fit 3 examples"),
        (lambda: DataLoader(np.arange(3), 4, drop_last=True), "batch_size 4 does not fit 3 examples"),
        (lambda: DataLoader(np.arange(3), 1, shard=(2, 2)), r"0 <= index < count, not \(2, 2\)"),
        (lambda: DataLoader(np.arange(3), 1, transform=normalize(0, 1)), "give the loader a key"),
        (lambda: DataLoader(np.arange(3), 1, prefetch=-1), "prefetch is at least 0, not -1"),
        (lambda: random_crop(-1), "padding is at least 0, not -1"),
        (lambda: random_flip(1.5), "a probability is from 0 to 1, not 1.5"),
        (lambda: normalize(0, 0), "std must be positive, not 0"),
        (lambda: random_crop(1)(KEY, np.ones((3, 4))), r"takes images of shape .* not \(3, 4\)"),
        (lambda: random_flip()(KEY, np.ones(3)), r"takes images of shape .* not \(3,\)"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(DataError, match=message):
        make()
