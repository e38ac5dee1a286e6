"""``narrows compare``."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from narrows._errors import nearest
from narrows.cli import _data, _models, _settings, _show
from narrows.cli._arguments import Data, Groups, Json
from narrows.cli._settings import Path

if TYPE_CHECKING:
    from rich.text import Text

    from narrows.report import Comparison

Models = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Models beside the other methods, each with its ordering after a colon, as in "
        "Autoencoder,HierarchicalAutoencoder:boosted; none for none.",
    ),
]
Range = Annotated[
    str,
    typer.Option("--n-components", "-k", metavar="K", help="Up to K, or the numbers: 1,2,5,10."),
]
Baselines = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="Other methods: pca, ppca, fa, kpca (kernel PCA), and, by --metrics alone, tsne and "
        "umap; none for none.",
    ),
]
Metrics = Annotated[
    str,
    typer.Option(
        metavar="NAME,...",
        help="What else to measure of the codes: trustworthiness, continuity, neighbour-overlap, "
        "tsne-divergence, of at most 2000 held-out rows; all for all.",
    ),
]
Fraction = Annotated[
    float, typer.Option(metavar="X", help="Share of the rows held out by each split, in (0, 1).")
]
Splits = Annotated[
    int, typer.Option(metavar="N", help="Splits, each drawn anew; several give standard errors.")
]
Plot = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Where to draw FVE against K: .png, .pdf or .svg."),
]

NAMES = {
    "pca": "PCA",
    "ppca": "probabilistic PCA",
    "fa": "factor analysis",
    "kpca": "kernel PCA",
    "tsne": "t-SNE",
    "umap": "UMAP",
}
METRICS = {
    "trustworthiness": "trustworthiness",
    "continuity": "continuity",
    "neighbour-overlap": "neighbour overlap",
    "tsne-divergence": "t-SNE divergence",
}


def compare(
    data: Data,
    models: Models = "HierarchicalAutoencoder",
    n_components: Range = "5",
    baselines: Baselines = "pca,ppca,fa",
    metrics: Metrics = "none",
    test_fraction: Fraction = 0.2,
    n_splits: Splits = 1,
    groups: Groups = None,
    plot: Plot = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    r"""Print what models, PCA and other methods explain of held-out rows.

    All learn from the same rows, and are measured on others in the same space, at every number
    of components. A setting goes to every model that has it; the parts are chosen by
    --training.split, and are the same every time unless --random-state says otherwise.

    Examples
    --------
    $ narrows compare table.csv -k 5 --plot comparison.png
    $ narrows compare table.csv -k 1,2,5,10 --models Autoencoder --n-splits 5
    $ narrows compare table.csv -k 2 --baselines pca,kpca,tsne --metrics all
    $ narrows compare run1.npy run2.npy --training.split blocks \
          --models HierarchicalAutoencoder,HierarchicalAutoencoder:boosted
    """
    from narrows import report

    if plot is not None:
        _data.check_output(plot, [".png", ".pdf", ".svg"])
    values = _models.values(settings)
    material = _data.material(data, groups=groups)
    with _progress() as told, _show.quiet_stdout():
        found = report.compare(
            material.data,
            _chosen(_names(models), values),
            _counts(n_components),
            baselines=[_known("method", name, NAMES) for name in _names(baselines)],
            metrics=_metrics(metrics),
            test_fraction=test_fraction,
            split=values.get(("training", "split"), "random"),
            n_splits=n_splits,
            groups=material.groups,
            random_state=values.get(("random_state",)) or 0,
            on_fit=told,
        )
    if plot is not None:
        _data.save_figure(plot, found.plot().figure)
    if as_json:
        _show.as_json({**found.to_dict(), "plot": plot})
        return
    _print(found)
    if plot is not None:
        _show.line(f"Drawn in {_show.path(plot)}.")


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name.strip() for name in text.split(",")]


def _counts(text: str) -> int | list[int]:
    try:
        counts = [int(number) for number in text.split(",")]
    except ValueError:
        message = f"--n-components takes a whole number, or several with commas, not {text!r}."
        raise ValueError(message) from None
    return counts[0] if len(counts) == 1 else counts


def _metrics(text: str) -> list[str]:
    if text == "all":
        return [*METRICS.values()]
    return [_known("metric", name, METRICS) for name in _names(text)]


def _known(kind: str, name: str, known: dict[str, str]) -> str:
    if name not in known:
        raise ValueError(
            f"There is no {kind} {name!r}.{nearest(name, known)} Known are: {', '.join(known)}."
        )
    return known[name]


def _chosen(names: list[str], values: dict[Path, Any]) -> list[Any]:
    """Return the models, each with the settings that it has."""
    models, used = [], {("training", "split"), ("random_state",)}
    for name in names:
        base, _, ordering = name.partition(":")
        if base.lower() in {*NAMES, *map(str.lower, NAMES.values())}:
            raise ValueError(
                f"{base!r} is a baseline, which --baselines shows already. "
                "Write --models none for no model beside them."
            )
        own = _models.applicable(base, values)
        used |= own.keys()
        own |= {("ordering",): ordering} if ordering else {}
        models.append(_models.estimator(base, own))
    if values.keys() - used:
        option = _settings.settings()[min(values.keys() - used)].option
        raise ValueError(f"No model here has a setting {option}.")
    return models


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """Give what tells a person which fit is running, None where nobody watches."""
    if not _show.interactive():
        yield None
        return
    with _show.console(stderr=True).status("Reading ...") as status:

        def tell(label: str, n_components: int, split: int) -> None:
            status.update(f"Split {split + 1}: {label}, K = {n_components} ...")

        yield tell


def _print(found: "Comparison") -> None:
    """Print a table of K by model for each metric, and what they are of."""
    if found.fve:
        if found.metrics:
            _show.line("Fraction of variance explained:")
        _table(found, "fve")
    for metric in found.metrics:
        better = " (smaller is better)" if metric == METRICS["tsne-divergence"] else ""
        _show.line(f"\n{metric}{better}:")
        _table(found, metric)
    rows = f"{found.n_train} rows to learn from, {found.n_test} held out"
    over = f"; mean and standard error over {found.n_splits} splits" if found.n_splits > 1 else ""
    _show.line(f"\n{'Held-out FVE' if found.fve else 'Held-out rows'}: {rows}{over}.")
    if any(map(math.isnan, found.mean.get(NAMES["fa"], ()) if found.fve else ())):
        _show.line("–: factor analysis needs fewer components than features.")
    for name in _stayed(found):
        _show.line(
            f"{name} stayed PCA: no gain on its validation rows that is beyond doubt. More of them "
            "may show one: --training.validation-fraction 0.25."
        )


def _table(found: "Comparison", metric: str) -> None:
    """Print K by model, the best of each K in bold; side by side as many as fit."""
    shown, columns, labels = _show.console(), _columns(found, metric), list(found.mean_of(metric))
    width = max(len(cell) for column in columns for cell in column)
    n_beside = max((shown.width - 3) // (width + 2), 1)
    for first in range(0, len(labels), n_beside):
        some = slice(first, first + n_beside)
        table = _show.table("K", *map(_wrapped, labels[some]))
        for k, *row in zip(found.n_components, *columns[some], strict=True):
            table.add_row(str(k), *row)
        shown.print("", table, sep="\n")


def _stayed(found: "Comparison") -> list[str]:
    """Return the models that explain what PCA does, in every split and for every K."""
    pca = found.fve.get(NAMES["pca"])
    if pca is None:
        return []
    models = {name: fve for name, fve in found.fve.items() if name not in NAMES.values()}
    return [name for name, fve in models.items() if abs(fve - pca).max() < 1e-4]


def _columns(found: "Comparison", metric: str) -> "list[list[Text]]":
    """Return a column per model."""
    from rich.text import Text

    values = {name: each.round(3) for name, each in found.mean_of(metric).items()}
    sign = -1 if metric == METRICS["tsne-divergence"] else 1
    best = [max(row, key=lambda v: _rank(sign * v)) for row in zip(*values.values(), strict=True)]
    columns = []
    for name, column in values.items():
        texts = [_show.number(value) for value in column]
        if found.n_splits > 1:
            widths = found.standard_error_of(metric)[name]
            texts = [
                text if math.isnan(width) else f"{text} ± {width:.3f}"
                for text, width in zip(texts, widths, strict=True)
            ]
        styles = ["bold" if value == top else "" for value, top in zip(column, best, strict=True)]
        columns.append(list(map(Text, texts, styles)))
    return columns


def _rank(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _wrapped(label: str) -> str:
    """Break a label between its words, so that columns stay narrow."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])| ", "\n", label)
