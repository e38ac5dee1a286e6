"""What a fit is worth: one page about it, and the comparison with linear methods."""

from narrows.report.comparison import Comparison, compare, pca_fve
from narrows.report.page import report

__all__ = ["Comparison", "compare", "pca_fve", "report"]
