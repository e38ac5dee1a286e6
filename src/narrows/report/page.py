"""One self-contained HTML page about a fitted estimator."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from narrows import __version__
from narrows._files import atomic
from narrows._types import Array, PathLike
from narrows.data.source import Source
from narrows.estimators._base import BaseAutoencoder
from narrows.report import components, generation, quality, summary
from narrows.report.blocks import Section, drawable, words
from narrows.report.subject import Subject, linear_fve


def report(
    estimator: BaseAutoencoder,
    X: Any,
    path: PathLike,
    *,
    target: Any = None,
    train: Any = None,
    labels: Any = None,
    event_shape: Sequence[int] | None = None,
    swap_check: bool = False,
    title: str | None = None,
    random_state: int = 0,
) -> Path:
    """Write one self-contained HTML page on what a fitted estimator found.

    Use it to look at a fit and to pass it on: the page needs neither network nor scripts, and
    says of each figure how it is defined. It holds the ranked table beside PCA, a summary of the
    data, training curves, scree plot, codes, traversals, the decoded plane of two components, best
    and worst reconstructions, agreement of restarts, dependence of components, how well codes keep
    neighbours and classes, terms of the objective and the settings as Python. It fails to be honest
    where X are rows of the fit: hold some out.

    Parameters
    ----------
    estimator : fitted autoencoder
        What to report on.
    X : like `fit`
        Held-out rows, at least one.
    path : str or PathLike
        The page to write; its folder must exist. An old page stays until the new one is whole.
    target : like X, optional
        What X is to be reconstructed as, for estimators fitted with a target.
    train : like X, or a pair (X, target), optional
        The rows of the fit, for PCA and the summary of the data.
    labels : array of shape (rows,), optional
        Colours of the codes: names or numbers.
    event_shape : sequence of int, optional
        How flat rows are drawn: (8, 8) for images, (51,) for curves; as a table if not given.
    swap_check : bool, default=False
        Also run the estimator's `swap_check`, which fits decoders and takes its time.
    title : str, optional
        Heading; estimator, components and features if not given.
    random_state : int, default=0
        Which of more than 2000 rows are drawn.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator is no autoencoder.
    ValueError
        If rows, target or labels do not fit the estimator, or `event_shape` does not hold a row.
    OSError
        If the page cannot be written; an old one is left as it was.

    Examples
    --------
    >>> from narrows import HierarchicalAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(100, 3)) @ np.diag([3.0, 2.0, 1.0])
    >>> model = HierarchicalAutoencoder(2, max_epochs=2).fit(X[:80])
    >>> report(model, X[80:], "report.html", train=X[:80]).name
    'report.html'
    """
    check_is_fitted(estimator)
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"A report is of an autoencoder, not of a {type(estimator).__name__}. Pass one of "
            "those that narrows.parts.ESTIMATORS lists."
        )
    rows, targets, _ = estimator._given(X, target)
    subject = Subject(
        estimator,
        rows,
        targets,
        _training_rows(estimator, train, target),
        _labels(labels, len(rows)),
        _event_shape(event_shape, targets),
    )
    title = _title(subject) if title is None else title
    with atomic(path) as temporary:
        page = _render(title, _sections(subject, swap_check, random_state))
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _training_rows(
    estimator: BaseAutoencoder, train: Any, target: Any
) -> tuple[Source, Source] | None:
    if train is None:
        return None
    if target is None:
        return estimator._given(train, None)[:2]
    if not (isinstance(train, tuple) and len(train) == 2):
        raise ValueError("train lacks its target. Write train=(X_train, target_train).")
    return estimator._given(*train)[:2]


def _labels(labels: Any, n_rows: int) -> Array | None:
    """Return labels that can be told apart: numbers, or text."""
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (n_rows,):
        raise ValueError(
            f"labels has shape {found.shape}, but X has {n_rows} rows. Pass one label per row."
        )
    if found.dtype.kind in "iuf":
        return found
    return np.array([drawable(str(label)) for label in found])


def _event_shape(event_shape: Sequence[int] | None, targets: Source) -> tuple[int, ...] | None:
    """Return the shape to draw events in; None for the rows of a table."""
    if event_shape is None:
        return targets.shape if len(targets.shape) > 1 else None
    shape = tuple(int(size) for size in event_shape)
    if math.prod(shape) != math.prod(targets.shape):
        raise ValueError(
            f"event_shape={shape} holds {math.prod(shape)} values, but a row has "
            f"{math.prod(targets.shape)}. Write a shape of as many values, (8, 8) for 64, say."
        )
    return shape


def _title(subject: Subject) -> str:
    n = subject.n_components
    components = f"{n} component{'s' if n > 1 else ''}"
    return f"{type(subject.estimator).__name__}: {components} of {subject.n_values} values"


def _sections(subject: Subject, swap_check: bool, random_state: int) -> list[Section]:
    pca = linear_fve(subject)
    found = [
        summary.result(subject, pca),
        summary.data(subject),
        summary.training(subject),
        components.scree(subject, pca),
        components.codes(subject, np.random.default_rng(random_state)),
        components.traversals(subject),
        components.plane(subject),
        components.reconstructions(subject),
        components.agreement(subject),
        components.dependences(subject),
        quality.quality(subject, np.random.default_rng(random_state)),
        generation.generation(subject, random_state),
        summary.terms(subject),
        components.swaps(subject, swap_check, random_state),
        summary.reproduce(subject),
    ]
    return [section for section in found if section is not None]


def _render(title: str, found: Sequence[Section]) -> str:
    from jinja2 import Environment, StrictUndefined

    source = resources.files("narrows.report").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["words"] = words
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    template = environment.from_string(source)
    return template.render(title=title, sections=found, now=now, version=__version__)
