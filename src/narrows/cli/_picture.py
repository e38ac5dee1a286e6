"""The demo's picture: what components explain, and what they show of a few digits."""

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from narrows import plots
from narrows.cli._data import Material
from narrows.metrics import elbow
from narrows.plots.style import sheet, styled

SHOWN = (0, 1, 2, 3, 4, 5)  # digits; of each the first test image


@styled
def picture(model: Any, train: Material, test: Material, found: dict[str, Any]) -> Any:
    """Return a figure: the scree plot beside PCA's, and digits rebuilt level by level."""
    figure: Any = sheet(None, 10.4, 4.0)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1.0))
    _scree(found, left.subplots())
    columns = _columns(model, train, test)
    grid = right.subplots(len(SHOWN), len(columns))
    for j, (name, images) in enumerate(columns.items()):
        grid[0, j].set_title(name, fontsize=8.5)
        for i, image in enumerate(images):
            plots.draw_event(image, grid[i, j], event_shape=(8, 8), limits=(0.0, 1.0))
    k = model.n_components
    right.suptitle(f"Held-out digits, rebuilt from 1 to {k} components", fontsize=10.5)
    return figure


def _scree(found: dict[str, Any], ax: Any) -> None:
    fve, spread = found["fve"], found["fve_restarts"].std(axis=0, ddof=1)
    plots.scree(fve, spread, found["pca_fve"], elbow=elbow(fve), ax=ax)
    ax.set_title("How much the first components explain, held out")
    ax.get_legend().get_texts()[0].set_text("ranked autoencoder")


def _columns(
    model: Any, train: Material, test: Material
) -> dict[str, Float[np.ndarray, "image value"]]:
    """Return originals and reconstructions of the digits shown."""
    labels: Any = test.labels
    first = np.array([int(np.flatnonzero(labels == digit)[0]) for digit in SHOWN])
    rows, k = test.rows(first).data, model.n_components
    originals = rows.read(0, len(rows))
    pca = PCA(k).fit(train.data.read(0, len(train.data)))
    levels = {str(level): model.reconstruct(rows, level) for level in range(1, k + 1)}
    linear = pca.inverse_transform(pca.transform(originals))
    return {"digit": originals, **levels, f"PCA {k}": linear}
