"""Figures of merit, computed from numpy arrays alone."""

from narrows.metrics.latent import (
    Dependence,
    agreement,
    agreement_matrix,
    circular_correlation,
    dependence,
    rank_correlation,
)
from narrows.metrics.reconstruction import (
    ExplainedVariance,
    elbow,
    fraction_of_variance_explained,
)

__all__ = [
    "Dependence",
    "ExplainedVariance",
    "agreement",
    "agreement_matrix",
    "circular_correlation",
    "dependence",
    "elbow",
    "fraction_of_variance_explained",
    "rank_correlation",
]
