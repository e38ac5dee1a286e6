"""Figures drawn from computed arrays; matplotlib is imported when one is drawn."""

from narrows.plots.codes import code_scatter
from narrows.plots.detection import (
    plot_precision_recall,
    plot_roc,
    plot_significance_improvement,
)
from narrows.plots.events import decoded_grid, draw_event, reconstructions, traversal
from narrows.plots.features import feature_maps, responses
from narrows.plots.generation import samples
from narrows.plots.heat import matrix
from narrows.plots.scree import comparison, scree
from narrows.plots.training import training_curves

__all__ = [
    "code_scatter",
    "comparison",
    "decoded_grid",
    "draw_event",
    "feature_maps",
    "matrix",
    "plot_precision_recall",
    "plot_roc",
    "plot_significance_improvement",
    "reconstructions",
    "responses",
    "samples",
    "scree",
    "training_curves",
    "traversal",
]
