"""How settings of estimators are given: misspelt ones are refused with the nearest."""

from typing import Any, Self

from sklearn.base import BaseEstimator

from narrows.engine.training import Training
from narrows.estimators import _checks
from narrows.parts import refuse_unknown


class Settings(BaseEstimator):
    """Base of all estimators that have settings of their training."""

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Refuse a misspelt setting with a suggestion, which Python's own error lacks."""
        refuse_unknown(cls, settings)
        return super().__new__(cls)

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``training__patience=5`` and the like also when `training` is None."""
        _checks.check_names(self, params)
        nested = any(name.startswith("training__") for name in params)
        if nested and self.get_params(deep=False)["training"] is None:
            super().set_params(training=Training())
        super().set_params(**params)
        return self
