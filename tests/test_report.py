"""The report page: whole, honest, self-contained, the same again, whatever was fitted."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from scipy.stats import circstd
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from narrows import (
    L1,
    AdversarialAutoencoder,
    Autoencoder,
    Dense,
    HierarchicalAutoencoder,
    Plain,
    Training,
    VariationalAutoencoder,
)
from narrows.metrics import clustering_agreement, round_trip, trustworthiness
from narrows.parts import ESTIMATORS, load
from narrows.report.blocks import bar, drawable, number, share
from narrows.report.page import report
from narrows.report.settings import as_code, versions
from narrows.report.subject import Subject, linear_fve, n_repeated, squared_fve, went_back

SECTIONS = (
    "result data training scree codes traversals rows agreement dependence quality terms settings"
)
NASTY = ["<script>alert(1)</script>", "a & b", "$x^2", "_hidden", 'q"uote', "ordinary"]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
VOID = {"meta", "img", "br", "hr", "input", "link"}


def table(n_rows: int, n_features: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(n_rows, 2))
    mixed = np.hstack([u, u**2]) @ np.random.default_rng(1).normal(size=(4, n_features))
    return mixed + 0.1 * rng.normal(size=mixed.shape)


TRAIN, TEST = table(60), table(30, seed=2)


class Tags(HTMLParser):
    """The tags of a page, its attributes and its text; complains where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "dd"):
            self.cells.append(data)

    def values(self, *names: str) -> list[str | None]:
        return [value for name, value in self.attributes if name in names]


def whole_and_alone(page: str) -> Tags:
    """Return the tags of a page that refers to nothing outside, runs nothing and is small."""
    tags = Tags(page)
    assert {value for name, value in tags.attributes if name == "charset"} == {"utf-8"}
    references = tags.values("src", "href", "xlink:href")
    assert all(value.startswith(("#", "data:image/")) for value in references)
    assert not {"script", "link", "iframe", "object"} & set(tags.found)
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "url(http" not in page
    assert "@import" not in page
    assert len(page.encode()) < 3_000_000
    assert not {"nan", "inf", "-inf", "None"} & set(tags.cells)
    ids = tags.values("id")
    links = [value[1:] for value in references if value.startswith("#")]
    assert set(SECTIONS.split()) <= set(ids) & set(links)
    assert set(links) <= set(ids)
    return tags


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_has_a_page(name, folder):
    frame, held = (pd.DataFrame(rows, columns=NASTY) for rows in (TRAIN, TEST))
    model = load(ESTIMATORS[name])(2, n_init=3, **SMALL).fit(frame)
    labels = np.array(["<b>bold</b>", "_x", None], dtype=object)[np.arange(30) % 3]
    path = report(model, held, folder / f"{name}.html", train=frame, labels=labels, title="<i>")
    page = path.read_text(encoding="utf-8")
    whole_and_alone(page)
    assert "plane" in page
    assert "<title>&lt;i&gt;</title>" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;bold" in page
    assert "None of the held-out rows" in page
    assert "PCA is left out" not in page


@pytest.mark.filterwarnings("ignore:Codes do not follow the prior")
def test_a_contest_is_shown_with_its_prior_and_samples(folder):
    model = AdversarialAutoencoder(2, prior="ring", **SMALL).fit(TRAIN)
    page = report(model, TEST, folder / "contest.html").read_text("utf-8")
    tags = whole_and_alone(page)
    rows = dict(zip(tags.cells, tags.cells[1:], strict=False))
    assert rows["prior"] == "RingSampler()"
    accuracy = model.critic_accuracy(TEST, random_state=0)
    assert rows["critic's accuracy"] == f"{accuracy:.3f}"
    assert rows["p-value of the prior"] == f"{model.prior_test(TEST, random_state=0).p_value:.2g}"
    assert "two-sample AUC" in rows
    assert "Codes and draws of the prior" in page
    assert "Samples of the model beside rows" in page


def test_values_between_have_no_bound(folder):
    shares, held = (1 / (1 + np.exp(-rows)) for rows in (TRAIN, TEST))
    model = VariationalAutoencoder(2, likelihood="bernoulli", **SMALL).fit(shares)
    page = report(model, held, folder / "shares.html").read_text("utf-8")
    whole_and_alone(page)
    assert "There is no bound. likelihood=" in page
    assert "Samples of the model beside rows" in page


def test_one_component_has_no_scree_plot(folder):
    model = HierarchicalAutoencoder(1, **SMALL).fit(TRAIN)
    page = report(model, TEST, folder / "one.html", train=TRAIN).read_text("utf-8")
    assert "One component is one figure" in page
    assert "FVE against components" not in page


def test_words_stand_at_the_left(folder):
    model = VariationalAutoencoder(2, **SMALL).fit(TRAIN)
    page = report(model, TEST, folder / "words.html").read_text("utf-8")
    assert '<td class="words">0.5 where a classifier cannot tell them apart</td>' in page
    assert '<th scope="col" class="words">meaning</th>' in page
    assert not re.search(r'<td class="words">[0-9−.e]*</td>', page)


def test_images_with_angles(folder):
    images, held = (np.exp(-rows).clip(0, 1).reshape(-1, 2, 3) for rows in (TRAIN, TEST))
    model = HierarchicalAutoencoder(
        3, circular=(1,), ordering="boosted", likelihood="bernoulli", n_init=2, **SMALL
    ).fit(images)
    page = report(model, held, folder / "images.html", train=images).read_text("utf-8")
    tags = whole_and_alone(page)
    assert "component 2 (angle)" in page
    assert "PCA, squared" in page
    assert "deviance" in page
    assert tags.found.count("image") >= 3 * 9  # traversals are drawn as images


def test_many_components_are_cut_and_what_lacks_is_explained(folder):
    model = HierarchicalAutoencoder(50, ordering="nested", **SMALL).fit(table(80, 60))
    held = table(30, 60, 2)
    page = report(model, held, folder / "many.html", event_shape=(60,)).read_text("utf-8")
    tags = whole_and_alone(page)
    for n in (5, 8, 10):
        assert f"The first {n} of 50 components." in page
    assert "PCA is left out: it needs the rows of the fit." in page
    assert "One restart was kept" in page
    assert "Not run; write report(..., swap_check=True), or narrows report --swap-check." in page
    assert tags.found.count("td") > 50


def test_counts_to_predict_from_sparse_rows(folder):
    counts = np.random.default_rng(0).poisson(np.exp(0.3 * TRAIN[:, :4]))
    held = np.random.default_rng(1).poisson(np.exp(0.3 * TEST[:, :4]))
    settings = Training(validation_fraction=0, keep_restarts=False)
    model = Autoencoder(1, likelihood="poisson", n_init=2, training=settings, **SMALL)
    model.fit(csr_array(TRAIN), target=counts)
    one = {"target": held[:1], "train": (csr_array(TRAIN), counts)}
    page = report(model, csr_array(TEST[:1]), folder / "counts.html", **one).read_text("utf-8")
    whole_and_alone(page)
    assert "training, target" in page
    assert "the target here is another" in page
    assert "There is one component." in page
    assert "the weights are those of the last epoch" in page
    with pytest.raises(ValueError, match=r"Write train=\(X_train, target_train\)"):
        report(model, TEST, folder / "no.html", target=held, train=TRAIN)


def test_quality_of_the_code_is_what_the_metrics_say(folder):
    model = HierarchicalAutoencoder(2, **SMALL).fit(TRAIN)
    classes = (TEST[:, 0] > 0).astype(int)
    page = report(model, TEST, folder / "quality.html", train=TRAIN, labels=classes)
    cells = Tags(page.read_text("utf-8")).cells
    X, codes = (TEST - TRAIN.mean(0)) / TRAIN.std(0), model.transform(TEST).astype(float)
    pca = PCA(2).fit((TRAIN - TRAIN.mean(0)) / TRAIN.std(0)).transform(X)
    row = cells[cells.index("trustworthiness") + 1 :][:2]
    assert row == [share(trustworthiness(X, Z)) for Z in (codes, pca)]
    agreed = clustering_agreement(codes, classes).adjusted_rand_index
    assert share(agreed) in cells
    back = round_trip(model, codes).r2
    assert {share(value) for value in back} <= set(cells)
    assert any(re.fullmatch(r"(column \d \d\.\d\d(, )?){3}", cell) for cell in cells)


def test_what_an_angle_changes_is_its_range_once_around(folder):
    angle = np.random.default_rng(0).uniform(-np.pi, np.pi, 200)
    X = np.column_stack([np.cos(angle), np.sin(angle), 0.3 * np.cos(2 * angle), 0.5 + 0 * angle])
    X += 0.05 * np.random.default_rng(1).normal(size=X.shape)
    model = Autoencoder(2, circular=(0,), code=Plain("relu"), **SMALL).fit(X)
    cells = Tags(report(model, X, folder / "angle.html", train=X).read_text("utf-8")).cells
    last = len(cells) - cells[::-1].index("component 1 (angle)")
    deviation, _, changes, fires = cells[last : last + 4]
    assert fires == "–"
    codes = model.transform(X).astype(float)
    assert deviation == number(circstd(codes[:, 0], high=np.pi, low=-np.pi))
    once = np.linspace(-np.pi, np.pi, 3000)
    grid = np.column_stack([once, np.full(3000, np.median(codes[:, 1]))])
    moved = np.ptp(model.inverse_transform(grid), axis=0) / X.std(0)
    named = re.findall(r"column (\d) (\d\.\d\d)(?:, |$)", changes)
    assert [int(j) for j, _ in named] == np.argsort(-moved)[:3].tolist()
    np.testing.assert_allclose([float(by) for _, by in named], np.sort(moved)[:0:-1], atol=0.02)


def test_a_code_that_is_constant_has_a_page(folder):
    model = Autoencoder(2, code=Plain(torch.zeros_like), **SMALL).fit(TRAIN)
    classes = (TEST[:, 0] > 0).astype(int)
    path = report(model, TEST, folder / "constant.html", train=TRAIN, labels=classes)
    cells = whole_and_alone(path.read_text("utf-8")).cells
    own, pca = cells[cells.index("t-SNE divergence") + 1 :][:2]
    assert own == "–"
    assert float(pca) > 0


def test_missing_entries_and_a_stream_in_passes(folder):
    rows = np.where(np.random.default_rng(0).random(TEST.shape) < 0.1, np.nan, TEST)
    model = HierarchicalAutoencoder(2, missing="ignore", n_init=2, **SMALL)
    model.partial_fit(TRAIN).partial_fit(rows)
    page = report(
        model, rows, folder / "missing.html", train=rows, labels=TEST[:, 0], swap_check=True
    ).read_text("utf-8")
    whole_and_alone(page)
    assert "30 of 30 held-out rows also occur among the rows passed as training rows" in page
    assert f"<td>{np.isnan(rows).sum()}</td>" in page
    assert "1 against 2" in page


def test_what_agreement_and_the_start_mean(folder):
    settings = Training(validation_fraction=0)
    model = HierarchicalAutoencoder(2, n_init=2, training=settings, **SMALL).fit(TRAIN)
    model.history_["best_epoch"][:] = 0
    page = report(model, TEST, folder / "start.html", train=TRAIN).read_text("utf-8")
    assert "All 2 restarts went back to their PCA start: no gain on the validation" in page
    assert "None of the held-out rows occurs among the rows passed as training rows." in page
    assert "Restarts share the PCA start, so agreement near 1 is easier to reach" in page
    model.history_["best_epoch"][:] = 0, 1
    assert went_back(model) == "1 of 2 restarts went back to its PCA start."
    model.history_["best_epoch"][:] = 1
    assert went_back(model) == ""


# The page as a file


@pytest.fixture(scope="module")
def model() -> HierarchicalAutoencoder:
    settings = {"architecture": Dense((8,), init="random"), "training": Training(patience=5)}
    return HierarchicalAutoencoder(2, n_init=2, **settings, **SMALL).fit(TRAIN)


def test_the_same_page_again_and_no_half_page(model, tmp_path, monkeypatch):
    def written() -> str:
        page = report(model, TEST, tmp_path / "a.html", random_state=1).read_text("utf-8")
        return re.sub("<time>.*?</time>", "", page)

    assert written() == written()
    monkeypatch.setattr("narrows.report.page._sections", lambda *_: 1 / 0)
    before = (tmp_path / "a.html").read_bytes()
    with pytest.raises(ZeroDivisionError):
        report(model, TEST, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]


def test_a_users_mistake_has_a_sentence(model, tmp_path):
    path = tmp_path / "a.html"
    with pytest.raises(NotFittedError):
        report(Autoencoder(), TEST, path)
    with pytest.raises(ValueError, match=r"labels has shape \(2,\), but X has 30 rows"):
        report(model, TEST, path, labels=[0, 1])
    with pytest.raises(ValueError, match=r"event_shape=\(8, 8\) holds 64 values, but a row has 6"):
        report(model, TEST, path, event_shape=(8, 8))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        report(model, TEST, tmp_path / "nowhere" / "a.html")
    assert not list(tmp_path.iterdir())


# Its figures and settings


def subject(model: Any, train: np.ndarray | None = TRAIN) -> Subject:
    rows, targets, _ = model._given(TEST, None)
    pair = None if train is None else model._given(train, None)[:2]
    return Subject(model, rows, targets, pair, None, None)


def test_pca_is_measured_as_the_model_is(model):
    centre, width = TRAIN.mean(axis=0), TRAIN.std(axis=0)
    scaled = (TEST - centre) / width
    pca = PCA(2).fit((TRAIN - centre) / width)
    rest = scaled - pca.inverse_transform(pca.transform(scaled))
    found = linear_fve(subject(model))
    np.testing.assert_allclose(found[1], 1 - (rest**2).sum() / (scaled**2).sum())
    np.testing.assert_allclose(squared_fve(subject(model)), model.fve(TEST), atol=1e-5)
    assert linear_fve(subject(model, None)) is None


def test_the_facts_are_those_of_the_estimator(model):
    facts = subject(model)
    np.testing.assert_allclose(facts.fve[facts.used], model.fve(TEST))
    np.testing.assert_allclose(facts.mean_agreement, model.agreement(TEST))
    np.testing.assert_allclose(facts.codes, model.transform(TEST), rtol=1e-6)
    assert facts.loss == pytest.approx(-model.score_samples(TEST))
    assert n_repeated(facts.rows, facts.rows) == 30
    assert n_repeated(facts.rows, facts.train[0]) == 0


def test_restarts_that_kept_their_start_do_not_count_as_agreeing(model):
    facts = subject(model)
    assert facts.n_distinct == 2
    facts = subject(model)
    facts.__dict__["restart_codes"] = np.stack([model._angles(TEST)] * 2)
    assert facts.n_distinct == 1
    assert facts.agreement is None
    assert "their common start" in facts.no_agreement


def test_the_settings_run_and_give_the_same_fit(model):
    scope: dict[str, Any] = {}
    exec(as_code(model), scope)
    again = scope["model"].fit(TRAIN)
    assert np.array_equal(again.fve(TEST), model.fve(TEST))


def test_settings_with_parts_and_objects_of_ones_own():
    architecture = Dense((4,), activation=np.tanh)
    parts: Any = Autoencoder(penalties=(L1(strength=0.1),), learning_rate=np.float64(0.1))
    scope: dict[str, Any] = {}
    exec(as_code(parts), scope)
    assert scope["model"].penalties[0].strength == 0.1
    assert scope["model"].learning_rate == 0.1
    own = as_code(Autoencoder(architecture=architecture, activation=np.tanh))
    exec(own, scope)
    assert scope["model"].architecture.hidden_layer_sizes == (4,)
    assert "# activation=...,  # an object of your own" in own
    assert dict(versions()).keys() >= {"narrows", "torch", "numpy", "scikit-learn"}


def test_numbers_and_names_as_they_are_written():
    assert [number(x) for x in (0.0, -1234567.0, np.nan)] == ["0", "−1.235e+06", "–"]
    assert [share(x) for x in (-0.0001, -0.5, np.inf)] == ["0.000", "−0.500", "–"]
    assert (bar(0.5, 0.01).text, bar(-1.0).share, bar(np.nan).share) == ("0.500 ± 0.010", 0, 0)
    assert drawable("a\nb\x00 c") == "a b c"
    assert drawable("$p_T$") == r"\$p_T\$"
    assert len(drawable("x" * 99)) == 28
    assert not drawable("_x").startswith("_")
