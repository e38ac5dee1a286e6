"""Every kind of autoencoder as a scikit-learn estimator on PyTorch, for scientists.

Data passes the narrows, and what comes through is what counts. Names are imported when they are
first used, so that ``import narrows`` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Autoencoder": "narrows.estimators.autoencoder",
    "HierarchicalAutoencoder": "narrows.estimators.hierarchical",
    "SparseAutoencoder": "narrows.estimators.sparse",
    "ContractiveAutoencoder": "narrows.estimators.contractive",
    "DenoisingAutoencoder": "narrows.estimators.denoising",
    "StackedAutoencoder": "narrows.estimators.stacked",
    "VariationalAutoencoder": "narrows.estimators.variational",
    "AdversarialAutoencoder": "narrows.estimators.adversarial",
    "StackedClassifier": "narrows.estimators.supervised",
    "StackedRegressor": "narrows.estimators.supervised",
    "SemiSupervisedVAE": "narrows.estimators.semi_supervised",
    "SemiSupervisedAAE": "narrows.estimators.semi_supervised_adversarial",
    "OutlierDetector": "narrows.estimators.outliers",
    "CodeRegressor": "narrows.estimators.code_regressor",
    "ModuleRegressor": "narrows.estimators.module_regressor",
    "Training": "narrows.engine.training",
    "Checkpoint": "narrows.engine.checkpoint",
    "JsonLog": "narrows.engine.log",
    "TensorBoard": "narrows.engine.tracking",
    "MLflow": "narrows.engine.tracking",
    "Dense": "narrows.nn.dense",
    "Convolutional": "narrows.nn.convolutional",
    "Modules": "narrows.nn.modules",
    "Recurrent": "narrows.nn.recurrent",
    "Plain": "narrows.nn.code",
    "TopK": "narrows.nn.code",
    "GaussianCode": "narrows.nn.posterior",
    "LaplaceCode": "narrows.nn.posterior",
    "LogisticNormalCode": "narrows.nn.simplex",
    "DirichletCode": "narrows.nn.simplex",
    "RelaxedCategoricalCode": "narrows.nn.simplex",
    "PowerSphericalCode": "narrows.nn.sphere",
    "StandardPrior": "narrows.nn.prior",
    "MixturePrior": "narrows.nn.prior",
    "VampPrior": "narrows.nn.prior",
    "NormalSampler": "narrows.nn.sampler",
    "MixtureSampler": "narrows.nn.sampler",
    "UniformSampler": "narrows.nn.sampler",
    "RingSampler": "narrows.nn.sampler",
    "Collective": "narrows.nn.ordering",
    "Boosted": "narrows.nn.ordering",
    "Shared": "narrows.nn.ordering",
    "Nested": "narrows.nn.ordering",
    "Gaussian": "narrows.objective.likelihoods",
    "Normal": "narrows.objective.likelihoods",
    "Bernoulli": "narrows.objective.likelihoods",
    "ContinuousBernoulli": "narrows.objective.likelihoods",
    "Categorical": "narrows.objective.likelihoods",
    "Poisson": "narrows.objective.likelihoods",
    "NegativeBinomial": "narrows.objective.likelihoods",
    "Laplace": "narrows.objective.likelihoods",
    "StudentT": "narrows.objective.likelihoods",
    "Mixed": "narrows.objective.mixed",
    "GaussianNoise": "narrows.corruption",
    "Masking": "narrows.corruption",
    "SaltAndPepper": "narrows.corruption",
    "Dropout": "narrows.corruption",
    "L1": "narrows.objective.penalties",
    "KLSparsity": "narrows.objective.penalties",
    "Revival": "narrows.objective.penalties",
    "Contractive": "narrows.objective.penalties",
    "Decorrelation": "narrows.objective.penalties",
    "Divergence": "narrows.objective.variational",
    "TotalCorrelation": "narrows.objective.variational",
    "MMD": "narrows.objective.variational",
    "load": "narrows.persist",
    "compare": "narrows.report.comparison",
    "source": "narrows.data.source",
    "lagged": "narrows.data.views",
    "windows": "narrows.data.views",
}
__all__ = [*sorted(_WHERE)]

if TYPE_CHECKING:
    from narrows.data.source import source as source
    from narrows.data.views import lagged as lagged
    from narrows.data.views import windows as windows
    from narrows.engine.checkpoint import Checkpoint as Checkpoint
    from narrows.engine.log import JsonLog as JsonLog
    from narrows.engine.tracking import MLflow as MLflow
    from narrows.engine.tracking import TensorBoard as TensorBoard
    from narrows.engine.training import Training as Training
    from narrows.estimators.adversarial import AdversarialAutoencoder as AdversarialAutoencoder
    from narrows.estimators.autoencoder import Autoencoder as Autoencoder
    from narrows.estimators.code_regressor import CodeRegressor as CodeRegressor
    from narrows.estimators.contractive import ContractiveAutoencoder as ContractiveAutoencoder
    from narrows.estimators.denoising import DenoisingAutoencoder as DenoisingAutoencoder
    from narrows.estimators.hierarchical import HierarchicalAutoencoder as HierarchicalAutoencoder
    from narrows.estimators.module_regressor import ModuleRegressor as ModuleRegressor
    from narrows.estimators.outliers import OutlierDetector as OutlierDetector
    from narrows.estimators.semi_supervised import SemiSupervisedVAE as SemiSupervisedVAE
    from narrows.estimators.semi_supervised_adversarial import (
        SemiSupervisedAAE as SemiSupervisedAAE,
    )
    from narrows.estimators.sparse import SparseAutoencoder as SparseAutoencoder
    from narrows.estimators.stacked import StackedAutoencoder as StackedAutoencoder
    from narrows.estimators.supervised import StackedClassifier as StackedClassifier
    from narrows.estimators.supervised import StackedRegressor as StackedRegressor
    from narrows.estimators.variational import VariationalAutoencoder as VariationalAutoencoder
    from narrows.persist import load as load
    from narrows.report.comparison import compare as compare


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        from narrows._errors import nearest

        hint = nearest(name, _WHERE)
        raise AttributeError(f"module 'narrows' has no attribute {name!r}.{hint}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
