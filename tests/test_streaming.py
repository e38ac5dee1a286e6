"""Rows that are read from their files while a model is trained on them."""

import os
import re
import resource
import threading
import weakref
from dataclasses import replace
from functools import partialmethod
from itertools import chain, permutations

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet
from scipy.stats import chisquare
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from helpers import estimators, quick, short_name, table
from narrows import (
    AdversarialAutoencoder,
    Autoencoder,
    Checkpoint,
    DenoisingAutoencoder,
    HierarchicalAutoencoder,
    ModuleRegressor,
    SemiSupervisedVAE,
    StackedAutoencoder,
    StackedRegressor,
    Training,
    VariationalAutoencoder,
    source,
)
from narrows.data import memory, streamed
from narrows.data.arrays import ArraySource
from narrows.data.batches import Batch, Batches
from narrows.data.protocol import BaseSource, in_memory
from narrows.data.streamed import Blocks, Streamed, ahead, blocks_of, joined
from narrows.data.views import Concatenated, Rows
from narrows.data.writers import write
from narrows.engine.player import Player
from narrows.estimators import _streaming
from narrows.estimators._rows import Given
from narrows.estimators._streaming import loaded

FORMATS = ("x.npy", "x.h5", "x.parquet", "x.zarr")
each_estimator = pytest.mark.parametrize("estimator", [*estimators(**quick())], ids=short_name)


class Recorded(BaseSource):
    """Rows that have to be read, with a record of what was."""

    def __init__(self, rows, starts=None):
        self.rows, self.read_ranges, self.starts = rows, [], starts
        super().__init__(len(rows), rows.shape[1:], rows.dtype)

    def _read(self, start, stop):
        self.read_ranges.append((start, stop))
        return self.rows[start:stop]

    @property
    def n_read(self):
        return sum(stop - start for start, stop in self.read_ranges)


def numbered(n_rows, *, block=5, pool=17, weight=None, monkeypatch, starts=None):
    """Rows that hold their own numbers, streamed in blocks and pools of so many rows."""
    monkeypatch.setattr(streamed, "_BLOCK", 4 * block)
    monkeypatch.setattr(streamed, "_POOL", 4 * pool)
    monkeypatch.setattr(streamed, "_FEWEST", 1)
    rows = Recorded(np.arange(n_rows, dtype=np.float32)[:, None], starts)

    def load(start, stop):
        found = rows.read(start, stop).copy()
        return found if weight is None else found[weight[start:stop]]

    def make(loaded, place):
        x = torch.from_numpy(loaded)
        x = x if place is None else place.copy_(x)
        return Batch(x, x)

    blocks = blocks_of(rows, 4, None if weight is None else weight.astype(float))
    return Streamed(load, make, blocks, 4), rows


def numbers(batches):
    return [batch.x[:, 0].int().tolist() for batch in batches]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def readers():
    return [each for each in threading.enumerate() if each.name.startswith("narrows-reading")]


# Batches


@pytest.mark.parametrize("size", [1, 4, 16, 200])
@pytest.mark.parametrize("weighed", [False, True])
def test_an_epoch_has_each_row_once(size, weighed, monkeypatch):
    weight = np.random.default_rng(0).random(103) < 0.5 if weighed else None
    present = list(range(103)) if weight is None else np.flatnonzero(weight).tolist()
    rows, _ = numbered(103, weight=weight, monkeypatch=monkeypatch)
    batches = rows.batches(size)
    assert len(rows) == len(present)
    for found in (numbers(batches.shuffled(seeded())), numbers(batches)):
        assert [len(batch) for batch in found[:-1]] == [size] * (len(batches) - 1)
        assert len(found) == len(batches)
        assert sorted(chain(*found)) == present
    assert [*chain(*numbers(batches))] == present


def test_orders_are_those_of_the_generator(monkeypatch):
    batches = numbered(60, monkeypatch=monkeypatch)[0].batches(8)
    generator = seeded(1)
    one, two = numbers(batches.shuffled(generator)), numbers(batches.shuffled(generator))
    assert one != two
    generator = seeded(1)
    assert [numbers(batches.shuffled(generator)) for _ in range(2)] == [one, two]


def test_one_pool_is_a_full_shuffle(monkeypatch):
    """All orders of four rows are equally likely, whether in one block or in four."""
    generator = seeded()
    for block in (4, 1):
        batches = numbered(4, block=block, pool=4, monkeypatch=monkeypatch)[0].batches(4)
        found = [tuple(*numbers(batches.shuffled(generator))) for _ in range(1200)]
        counts = [found.count(order) for order in permutations(range(4))]
        assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("done", [0, 1, 5, 12, 13])
def test_an_epoch_goes_on_without_reading_what_was_trained_on(done, monkeypatch):
    rows, read = numbered(100, block=5, pool=20, monkeypatch=monkeypatch)
    batches = rows.batches(8)
    whole = numbers(batches.shuffled(seeded(2)))
    read.read_ranges.clear()
    assert numbers(batches.shuffled(seeded(2), done)) == whole[done:]
    assert read.n_read == max(0, 100 - 20 * (8 * done // 20))


@pytest.mark.parametrize("seed", range(20))
def test_blocks_tile_the_rows_and_keep_to_what_is_decoded_together(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    n_rows, block = int(rng.integers(1, 400)), int(rng.integers(1, 50))
    starts = np.unique(np.append(0, rng.integers(0, n_rows, rng.integers(0, 30)))).tolist()
    rows, _ = numbered(n_rows, block=block, pool=60, monkeypatch=monkeypatch, starts=starts)
    blocks = rows.blocks
    assert blocks.start[0] == 0
    assert blocks.stop[-1] == n_rows
    np.testing.assert_array_equal(blocks.start[1:], blocks.stop[:-1])
    assert (blocks.size <= block).all()
    assert {*blocks.start[np.flatnonzero(np.diff(blocks.unit, prepend=-1))]} <= {*starts}
    assert blocks.rows().tolist() == list(range(n_rows))


def test_blocks_that_are_decoded_together_are_read_one_after_another(monkeypatch):
    rows, read = numbered(90, block=5, monkeypatch=monkeypatch, starts=range(0, 90, 30))
    list(rows.batches(10).shuffled(seeded()))
    firsts = [start // 30 for start, _ in read.read_ranges]
    assert len(np.flatnonzero(np.diff(firsts))) == 2
    assert firsts != sorted(firsts)


def test_files_in_a_list_begin_blocks_of_their_own():
    parts = [Recorded(np.zeros((n, 1)), starts) for n, starts in ((10, None), (20, (0, 15)))]
    assert Concatenated(parts).starts == [0, 10, 25]


def test_parts_in_which_all_was_observed_stand_beside_others():
    x = torch.arange(6.0).reshape(3, 2)
    holes = torch.tensor([[True, False]])
    parts = [Batch(x[:1], x[:1]), Batch(x[1:2], x[1:2] + 1, observed=holes), Batch(x[2:], x[2:])]
    parts[2] = Batch(parts[2].x, parts[2].x)
    found = joined(parts, 3)
    assert found.x.tolist() == x.tolist()
    assert found.target.tolist() == [[0, 1], [3, 4], [4, 5]]
    assert found.observed.tolist() == [[True, True], [True, False], [True, True]]


def test_one_pool_and_the_blocks_of_two_are_in_memory(monkeypatch):
    rows, _ = numbered(2000, block=7, pool=100, monkeypatch=monkeypatch)
    alive, most, places = weakref.WeakSet(), [], []

    class Read:
        def __init__(self, rows):
            self.rows = rows

    def load(start, stop):
        found = Read(rows.load(start, stop))
        alive.add(found)
        most.append(len(alive))
        return found

    def make(loaded, place):
        if place is not None:
            places.append(place.data_ptr())
        return rows.make(loaded.rows, place)

    for _ in replace(rows, load=load, make=make).batches(30).shuffled(seeded()):
        pass
    assert 100 // 7 + 2 < max(most) <= 2 * -(-100 // 7) + 1
    assert len(places) > 200
    assert max(places) - min(places) < 4 * 110
    assert not alive


def test_the_reading_thread_ends_with_its_iterator(monkeypatch):
    rows, _ = numbered(200, monkeypatch=monkeypatch)
    batches = rows.batches(4).shuffled(seeded())
    next(batches)
    assert len(readers()) == 1
    batches.close()
    assert not readers()
    list(rows.batches(4))
    assert not readers()


def test_what_fails_in_the_thread_is_raised_where_rows_are_used():
    def items():
        yield 1
        raise OSError("gone")

    found = ahead(items(), lambda item: 2 * item)
    assert next(found) == 2
    with pytest.raises(OSError, match=r"^gone$"):
        next(found)
    assert not readers()


# Fits


def same_order(self, generator, done=0, size=None):
    """Batches of rows in memory, in the order of rows that are streamed."""
    rows = self.rows
    both = [rows.x] if rows.target is rows.x else [rows.x, rows.target]
    size = size or sum(each.element_size() * each.shape[1] for each in both)
    blocks = blocks_of(ArraySource(np.empty((len(rows), 1))), size)
    read = Streamed(lambda start, stop: rows[start:stop], lambda own, place: own, blocks, size)
    return read.batches(self.batch_size).shuffled(generator, done)


def fitted(estimator, X, stream, training=None, **more):
    training = Training(stream=stream, patience=3, **(training or {}))
    return clone(estimator).set_params(training=training).fit(X, **more)


def compare(one, two, X, condition=None):
    exact = not hasattr(one, "phases_")
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(
            one.history_[name], two.history_[name], rtol=0 if exact else 1e-3
        )
    codes = [model.transform(X, condition=condition) for model in (one, two)]
    np.testing.assert_allclose(*codes, rtol=0, atol=0 if exact else 1e-2)
    np.testing.assert_allclose(one.fve_, two.fve_, rtol=0 if exact else 1e-3)


@each_estimator
def test_a_streamed_fit_is_that_in_memory_in_another_order(estimator, tmp_path, monkeypatch):
    """To the bit, where the order is made the same; layers read codes of other batches."""
    X, held = table(n_rows=150), table(n_rows=60, seed=1)
    np.save(tmp_path / "x.npy", X)
    estimator.set_params(n_init=2, max_epochs=3)
    streaming = fitted(estimator, tmp_path / "x.npy", True, validation=held)
    monkeypatch.setattr(Batches, "shuffled", same_order)
    compare(streaming, fitted(estimator, X, False, validation=held), X)


@pytest.mark.parametrize("pool", [2**26, 1000])
@pytest.mark.parametrize("case", ["target", "missing", "weight", "condition", "double"])
def test_what_comes_with_rows_is_streamed_too(case, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_POOL", pool)
    X, held, rng = table(n_rows=150), table(n_rows=60, seed=1), np.random.default_rng(0)
    estimator, given, condition = HierarchicalAutoencoder(2, **quick(max_epochs=3)), {}, None
    validation = held
    if case == "target":
        np.save(tmp_path / "t.npy", X[:, :2] ** 2)
        given["target"], validation = source(tmp_path / "t.npy"), (held, held[:, :2] ** 2)
    if case == "missing":
        X[[3, 4, 90], 1] = np.nan
        estimator.set_params(missing="ignore")
    if case == "weight":
        given["sample_weight"] = rng.random(150)
    if case == "condition":
        given["condition"] = condition = X[:, :1]
        validation = (held, None, held[:, :1])
    np.save(tmp_path / "x.npy", X)
    given |= {"validation": validation}
    more = {"precision": "float64"} if case == "double" else {}
    streaming = fitted(estimator, tmp_path / "x.npy", True, more, **given)
    monkeypatch.setattr(Batches, "shuffled", same_order)
    compare(streaming, fitted(estimator, X, False, more, **given), X, condition)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_streamed(name, tmp_path):
    """As good as in memory, though a pool holds a twelfth of the rows."""
    X = load_digits().data.astype(np.float32)
    rows, test = X[:1500, X.std(0) > 0], X[1500:, X.std(0) > 0]
    write(tmp_path / f"train_{name}", rows)
    write(tmp_path / f"test_{name}", test)
    model = Autoencoder(5, hidden_layer_sizes=(64,), max_epochs=10, random_state=0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(streamed, "_POOL", rows.nbytes // 12)
        outside = fitted(model, tmp_path / f"train_{name}", True)
    inside = fitted(model, tmp_path / f"train_{name}", False)
    found = [each.score(tmp_path / f"test_{name}") for each in (inside, outside)]
    assert abs(found[0] - found[1]) < 0.01


def test_a_full_batch_does_not_depend_on_the_order(tmp_path):
    X = table()
    np.save(tmp_path / "x.npy", X)
    model = Autoencoder(
        2, **quick(batch_size=500, validation_fraction=0.0, precision="float64", max_epochs=3)
    )
    one = clone(model).fit(X)
    two = clone(model).set_params(training__stream=True).fit(tmp_path / "x.npy")
    np.testing.assert_allclose(one.transform(X), two.transform(X), atol=1e-6)
    np.testing.assert_allclose(one.fve_, two.fve_, atol=1e-8)


def test_rows_without_weight_play_no_role(tmp_path):
    X, found = table(), []
    weight = (np.arange(200) % 7 > 0).astype(float)
    for strange in (1e3, -5.0, 1e36, 1e200):
        np.save(tmp_path / "x.npy", np.where(weight[:, None] > 0, X, strange))
        model = Autoencoder(2, **quick(stream=True))
        found.append(model.fit(tmp_path / "x.npy", sample_weight=weight).transform(X))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_sequences_of_any_length_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_POOL", 4000)
    X = np.random.default_rng(0).normal(size=(150, 6, 2)).cumsum(1).astype(np.float32)
    for row, length in enumerate(np.random.default_rng(1).integers(2, 7, 150)):
        X[row, length:] = np.nan
    np.save(tmp_path / "x.npy", X)
    estimator = Autoencoder(2, **quick(architecture="recurrent", max_epochs=3))
    streaming = fitted(estimator, tmp_path / "x.npy", True, validation=X[:40])
    monkeypatch.setattr(Batches, "shuffled", partialmethod(same_order, size=X[0].nbytes))
    compare(streaming, fitted(estimator, X, False, validation=X[:40]), X)


def test_blocks_that_wait_are_not_overwritten_or_left_on_the_disk(tmp_path):
    """Neither a source that lends views of memory used again, nor a file that is mapped."""
    X, memory = table(), np.empty_like(table())

    class Lender(Recorded):
        def _read(self, start, stop):
            memory[: stop - start] = super()._read(start, stop)
            return memory[: stop - start]

    found = Autoencoder(2, **quick(stream=True)).fit(Lender(X)).transform(X)
    np.save(tmp_path / "x.npy", X)
    expected = Autoencoder(2, **quick(stream=True)).fit(tmp_path / "x.npy").transform(X)
    np.testing.assert_array_equal(found, expected)
    mapped = ArraySource(np.load(tmp_path / "x.npy", mmap_mode="r"))
    rows = loaded(Given(mapped, mapped), None, 3, 7).given.rows
    assert in_memory(rows)
    np.testing.assert_array_equal(rows.read(0, 4), X[3:7])


def test_codes_take_one_pass_over_rows_and_say_where_one_is_amiss():
    X = np.random.default_rng(0).normal(size=(5000, 60))
    model = Autoencoder(2, **quick(max_epochs=1)).fit(X[:300])
    rows = Recorded(X)
    model.transform(rows)
    assert rows.n_read == len(X)
    X[[4321, 4400], 7] = np.nan
    sentence = (
        "X has missing entries (NaN): 2, the first in row 4321, column 7. Fill them, drop their "
        "rows, or write missing='ignore'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        model.transform(X)


@pytest.mark.parametrize("split", ["random", "blocks"])
def test_whole_blocks_are_held_out(split, tmp_path):
    X = table(n_rows=640)
    np.save(tmp_path / "x.npy", X)
    training = {"stream": True, "split": split, "validation_fraction": 0.25}
    held = Autoencoder(2, **quick(**training, max_epochs=1)).fit(tmp_path / "x.npy")._held
    assert isinstance(held, Blocks)
    assert abs(len(held) - 160) <= 10
    assert held.start.tolist() == sorted(held.start.tolist())
    n_runs = 1 + np.count_nonzero(held.start[1:] != held.stop[:-1])
    assert (n_runs <= 3) if split == "blocks" else (n_runs > 5)


def test_groups_cannot_be_held_out_by_blocks(tmp_path):
    np.save(tmp_path / "x.npy", table())
    model = Autoencoder(2, **quick(stream=True, split="groups"))
    message = (
        "Rows that are streamed are held out in blocks, which split groups. Pass validation=, "
        "rows of other groups, or write Training(stream=False)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.fit(tmp_path / "x.npy", groups=np.arange(200) // 20)


@pytest.mark.parametrize(
    "model",
    [SemiSupervisedVAE(2), ModuleRegressor(nn.Linear(6, 1))],
    ids=["semi-supervised", "module"],
)
def test_what_holds_all_rows_refuses_to_stream(model):
    X = table()
    message = (
        "stream=True has no place here: all rows are held in memory, beside what is known of "
        "each. Write Training(stream=False)."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.set_params(training=Training(stream=True), random_state=0).fit(X, X[:, 0] > 0)


def test_a_setting_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"^stream='yes' is not known\. Write 'auto', True or F"):
        Autoencoder(training=Training(stream="yes")).fit(table())


def test_layers_and_predictors_stream(tmp_path):
    X = table(n_rows=300)
    np.save(tmp_path / "x.npy", X)
    y = X[:, 0] + X[:, 1] ** 2
    settings = {"layer_epochs": 5, "max_epochs": 20, "batch_size": 32, "random_state": 0}
    scores = [
        StackedRegressor((16,), **settings, training=Training(stream=stream))
        .fit(rows, y)
        .score(X, y)
        for stream, rows in ((False, X), (True, tmp_path / "x.npy"))
    ]
    assert abs(scores[0] - scores[1]) < 0.05
    assert scores[1] > 0.8


def test_ten_chunks_are_as_good_as_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_FEWEST", 4)
    X, test = np.split(table(n_rows=5000), [4000])
    np.save(tmp_path / "x.npy", X)
    rows = source(tmp_path / "x.npy")
    chunks = [Rows(rows, np.arange(start, start + 400)) for start in range(0, 4000, 400)]
    settings = {"hidden_layer_sizes": (16,), "batch_size": 50, "random_state": 0}
    whole = Autoencoder(2, max_epochs=10, **settings).fit(X)
    model = Autoencoder(2, max_epochs=100, training=Training(stream=True), **settings)
    for _ in range(10):
        for chunk in chunks:
            model.partial_fit(chunk)
    assert model.n_iter_ == 100
    assert abs(model.score(test) - whole.score(test)) < 0.02


def test_scaling_and_checks_take_one_pass():
    X = table(n_rows=500)
    rows = Recorded(X)
    Autoencoder(2, **quick(stream=False, validation_fraction=0.0, max_epochs=1)).fit(rows)
    assert rows.n_read == 2 * len(X)  # the second scales
    rows = Recorded(X)
    X[400, 2] = np.nan
    message = "X has missing entries (NaN): 1, the first in row 400, column 2."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        Autoencoder(2, **quick(stream=True)).fit(rows)


# Faults


def settings(folder, **more):
    checkpoint = None if folder is None else Checkpoint(folder, minutes=1e-9)
    return quick(stream=True, checkpoint=checkpoint, max_epochs=4, n_init=2, **more)


class Killed(BaseException):
    """Stands for a kill that no code can handle."""


@pytest.mark.parametrize(
    "kind",
    [DenoisingAutoencoder, VariationalAutoencoder, AdversarialAutoencoder, StackedAutoencoder],
    ids=lambda kind: kind.__name__,
)
def test_a_streamed_fit_goes_on_to_the_same_bits(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_POOL", 24 * 40)
    X = table()
    np.save(tmp_path / "x.npy", X)
    layers = {"layer_epochs": 2} if kind is StackedAutoencoder else {}
    whole = kind(2, **layers, **settings(None)).fit(tmp_path / "x.npy")
    for after in (3, 8):
        with monkeypatch.context() as patched:
            calls, own = [], Player.step

            def step(*arguments, calls=calls, own=own, after=after):
                calls.append(1)
                if len(calls) == after:
                    raise Killed
                return own(*arguments)

            patched.setattr(Player, "step", step)
            with pytest.raises(Killed):
                kind(2, **layers, **settings(tmp_path / "run")).fit(tmp_path / "x.npy")
        assert not readers()
    resumed = kind(2, **layers, **settings(tmp_path / "run")).fit(tmp_path / "x.npy")
    for name in whole.history_:
        np.testing.assert_array_equal(whole.history_[name], resumed.history_[name])
    np.testing.assert_array_equal(whole.transform(X), resumed.transform(X))


def cut_short(path):
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path):
    content = bytearray(path.read_bytes())
    content[200:-200] = bytes(len(content) - 400)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "hurt", "error"),
    [
        ("x.npy", cut_short, r"^The file '.*x\.npy' is truncated, damaged or not a \.npy file\."),
        ("x.npy", os.remove, r"x\.npy' is gone: it was there before\."),
        ("x.parquet", os.remove, r"x\.parquet' is gone: it was there before\."),
        ("x.parquet", scribbled, r"^The file '.*x\.parquet' is truncated, damaged or not a"),
    ],
)
def test_a_file_that_fails_in_the_midst_loses_nothing(name, hurt, error, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "_POOL", 24 * 40)
    X, path = table(), tmp_path / name
    if name == "x.parquet":
        columns = {str(k): column for k, column in enumerate(X.T)}
        parquet.write_table(pyarrow.table(columns), path, row_group_size=20)
    else:
        np.save(path, X)
    content = path.read_bytes()
    whole = Autoencoder(2, **settings(None)).fit(path)

    def fails(epoch):
        if epoch.number == 2:
            hurt(path)

    model = Autoencoder(2, **settings(None)).fit(X[:100])
    before = model.transform(X)
    model.set_params(**settings(tmp_path / "run", callbacks=[fails]))
    with pytest.raises((OSError, ValueError), match=error):
        model.fit(path)
    assert not readers()
    np.testing.assert_array_equal(model.transform(X), before)
    path.write_bytes(content)
    resumed = Autoencoder(2, **settings(tmp_path / "run")).fit(path)
    np.testing.assert_array_equal(resumed.transform(path), whole.transform(path))


def test_a_fit_in_memory_does_not_go_on_as_one_that_is_streamed(tmp_path):
    X = table()
    Autoencoder(2, **settings(tmp_path)).fit(X)
    with pytest.warns(UserWarning, match="streamed is False here and True there"):
        Autoencoder(2, **settings(tmp_path)).set_params(training__stream=False).fit(X)


# Memory


def test_files_are_streamed_where_memory_is_short(tmp_path, monkeypatch):
    X = table().astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for n_bytes, expected in ((4 * X.nbytes, False), (4 * X.nbytes - 1, True)):
        monkeypatch.setattr(_streaming, "capacity", lambda n=n_bytes: n)
        for rows, streams in ((tmp_path / "x.npy", expected), (mapped, expected), (X, False)):
            model = Autoencoder(2, **quick(max_epochs=1)).fit(rows)
            assert isinstance(model._held, Blocks) is streams


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


GROUP2 = "sys/fs/cgroup/a/b"
GROUP1 = "sys/fs/cgroup/memory/a"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1024 * 9000),
        ({"proc/self/cgroup": "0::/a/b\n", f"{GROUP2}/memory.max": "max\n"}, 1024 * 9000),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{GROUP2}/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
            },
            5000,
        ),
        (
            {
                "proc/self/cgroup": "7:cpu,cpuacct:/a\n4:memory:/a\n",
                f"{GROUP1}/memory.limit_in_bytes": "6000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            6000,
        ),
    ],
    ids=["machine", "no limit", "version 2", "version 1"],
)
def test_the_tightest_limit_counts(files, expected, tmp_path):
    tree(tmp_path, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 1000 kB\n", **files})
    assert memory.capacity(tmp_path) == expected


@pytest.mark.parametrize(("kind", "name"), [("AS", "VmSize"), ("DATA", "VmData")])
def test_limits_of_the_process_count(kind, name, tmp_path, monkeypatch):
    own = resource.getrlimit
    limits = {getattr(resource, f"RLIMIT_{kind}"): (900_000, 900_000)}
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits.get(which) or own(which))
    meminfo = "MemTotal: 1000 kB\n"
    tree(tmp_path, {"proc/meminfo": meminfo, "proc/self/status": f"{name}:\t 100 kB\n"})
    assert memory.capacity(tmp_path) == 900_000 - 102_400
