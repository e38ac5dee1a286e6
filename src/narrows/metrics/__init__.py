"""Figures of merit, computed from numpy arrays alone."""

from narrows.metrics.anomaly import (
    ROC,
    Efficiency,
    PrecisionRecall,
    SignificanceImprovement,
    clopper_pearson,
    precision_recall,
    roc,
    significance_improvement,
)
from narrows.metrics.codes import (
    ClusteringAgreement,
    LabelEfficiency,
    Repeated,
    RoundTrip,
    active_units,
    clustering_agreement,
    label_efficiency,
    round_trip,
)
from narrows.metrics.disentanglement import (
    DCI,
    dci,
    mutual_information_gap,
    separated_attribute_predictability,
)
from narrows.metrics.generative import (
    GenerativePrecisionRecall,
    frechet_distance,
    generative_precision_recall,
    wasserstein_per_feature,
)
from narrows.metrics.latent import (
    Dependence,
    agreement,
    agreement_matrix,
    circular_correlation,
    dependence,
    rank_correlation,
)
from narrows.metrics.neighbours import (
    continuity,
    neighbour_overlap,
    trustworthiness,
    tsne_divergence,
)
from narrows.metrics.reconstruction import (
    ExplainedVariance,
    elbow,
    fraction_of_variance_explained,
)
from narrows.metrics.two_sample import MMD, TwoSampleAUC, mmd, two_sample_auc

__all__ = [
    "DCI",
    "MMD",
    "ROC",
    "ClusteringAgreement",
    "Dependence",
    "Efficiency",
    "ExplainedVariance",
    "GenerativePrecisionRecall",
    "LabelEfficiency",
    "PrecisionRecall",
    "Repeated",
    "RoundTrip",
    "SignificanceImprovement",
    "TwoSampleAUC",
    "active_units",
    "agreement",
    "agreement_matrix",
    "circular_correlation",
    "clopper_pearson",
    "clustering_agreement",
    "continuity",
    "dci",
    "dependence",
    "elbow",
    "fraction_of_variance_explained",
    "frechet_distance",
    "generative_precision_recall",
    "label_efficiency",
    "mmd",
    "mutual_information_gap",
    "neighbour_overlap",
    "precision_recall",
    "rank_correlation",
    "roc",
    "round_trip",
    "separated_attribute_predictability",
    "significance_improvement",
    "trustworthiness",
    "tsne_divergence",
    "two_sample_auc",
    "wasserstein_per_feature",
]
