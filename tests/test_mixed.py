"""Tables of mixed columns: one likelihood per group."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import narrows
from helpers import quick, table
from narrows import Autoencoder, Mixed
from narrows.estimators._rows import Given
from narrows.objective.likelihoods import Bernoulli, Categorical, Gaussian, NegativeBinomial

KINDS = [("bernoulli", [1]), ("categorical", [4, 2]), ("negative_binomial", [3])]


@pytest.fixture(scope="module")
def frame():
    """Real, binary, categorical and count columns that hang on one cause."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=300)
    kind = rng.random(300) < 1 / (1 + np.exp(-3 * u))
    columns = {
        "mass": 50 + 10 * u + rng.normal(size=300),
        "male": (u + 0.5 * rng.normal(size=300) > 0).astype(float),
        "red": kind.astype(float),
        "eggs": rng.poisson(np.exp(u)).astype(float),
        "blue": (~kind).astype(float),
    }
    return pd.DataFrame(columns)


def test_the_loss_is_that_of_each_group_on_its_columns():
    mixed = Mixed(KINDS).placed(None, 6)
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(20, 6, generator=generator)
    target[:, 3] = torch.poisson(3 * target[:, 3], generator=generator)
    output = torch.randn(2, 3, 20, 6, generator=generator)
    width = torch.randn(2, 3, 1, 6, generator=generator)
    found = mixed.loss(target, output, width)
    for kind, columns in (
        (Gaussian(), [0, 5]),
        (Bernoulli(), [1]),
        (Categorical(), [4, 2]),
        (NegativeBinomial(), [3]),
    ):
        own = (target[:, columns], output[..., columns], width[..., columns])
        torch.testing.assert_close(found[..., columns], kind.loss(*own))
        means = mixed.link(output)[..., columns]
        torch.testing.assert_close(means, kind.link(output[..., columns]))
    inside = mixed.link(output)
    torch.testing.assert_close(mixed.link(mixed.unlink(inside)), inside, rtol=1e-3, atol=1e-3)
    assert mixed.scales_target.tolist() == [True, False, False, False, False, True]


def test_all_columns_gaussian_is_gaussian_bit_for_bit():
    X = table()
    plain = Autoencoder(2, **quick()).fit(X)
    mixed = Autoencoder(2, **quick(likelihood=Mixed([("gaussian", [3, 1])]))).fit(X)
    np.testing.assert_array_equal(mixed.transform(X), plain.transform(X))
    np.testing.assert_allclose(mixed.reconstruct(X), plain.reconstruct(X), rtol=1e-6)


def test_columns_by_name_are_those_by_number_and_come_back_from_a_file(frame, tmp_path):
    named = Mixed([("bernoulli", "male"), ("categorical", ["blue", "red"]), ("poisson", ["eggs"])])
    numbered = Mixed([("bernoulli", 1), ("categorical", [4, 2]), ("poisson", [3])])
    one, other = (
        Autoencoder(2, **quick(likelihood=kind, max_epochs=20)).fit(frame)
        for kind in (named, numbered)
    )
    np.testing.assert_array_equal(one.transform(frame), other.transform(frame))
    one.save(tmp_path / "model.safetensors")
    again = narrows.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.reconstruct(frame), one.reconstruct(frame))
    found = one.reconstruct(frame)
    np.testing.assert_allclose(found[:, 2] + found[:, 4], 1, rtol=1e-5)
    assert found[:, 1].min() >= 0
    assert found[:, 1].max() <= 1
    assert found[:, 3].min() >= 0
    assert one.fve(frame)[0] > 0.4


def test_missing_entries_contribute_nothing(frame):
    kind = Mixed(KINDS)
    model = Autoencoder(2, **quick(likelihood=kind, missing="ignore")).fit(frame)
    holes = frame.copy()
    holes.loc[3, ["red", "blue"]] = np.nan
    holes.loc[4, "eggs"] = np.nan
    assert np.isfinite(Autoencoder(2, **quick(likelihood=kind, missing="ignore")).fit(holes).fve_)
    rows = model._known_rows(holes)
    less = model._batch(Given(rows, rows), None, None, torch.float32)
    entries = model._model._entries(model._model._all_levels(less))[0, 0]
    assert (entries[3, [2, 4]] == 0).all()
    assert entries[4, 3] == 0


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [("bernoulli", ["mal"])],
            "groups of Mixed name the column 'mal', which X lacks. Did you mean 'male'?",
        ),
        (
            [("bernoulli", [7])],
            "groups of Mixed name the column 7, but there are 5: write numbers from 0 to 4, or "
            "names.",
        ),
        (
            [("bernoulli", [1]), ("poisson", ["male"])],
            "groups of Mixed name column 1 more than once. Name each column once.",
        ),
        (
            ["bernoulli"],
            "'bernoulli' is not a group of Mixed. Write pairs of a likelihood and its columns, "
            'such as ("bernoulli", [2, 3]).',
        ),
        (
            [("poisson", [])],
            "The group Poisson() of Mixed has no columns. Name some, or drop it.",
        ),
        (
            [(Mixed(), [0])],
            "A group of Mixed is itself Mixed. Write its groups one by one.",
        ),
        (
            [("bernoulli", ["mass"])],
            "In the columns [0]: likelihood='bernoulli' needs values from 0 to 1, but the data "
            "range from {low:g} to {high:g}. Rescale them, or write 'gaussian'.",
        ),
    ],
)
def test_groups_that_do_not_fit(frame, groups, message):
    text = message.format(low=frame["mass"].min(), high=frame["mass"].max())
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Autoencoder(2, **quick(likelihood=Mixed(groups))).fit(frame)
