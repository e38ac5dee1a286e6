"""An encoder of any architecture under one linear layer: what classifiers and regressors are."""

from narrows.nn.architecture import Architecture, Network, Sizes, Stage
from narrows.nn.dense import Dense, DenseNetwork


class Headed(Architecture):
    """The encoder of another architecture, and one linear layer instead of its decoder.

    Parameters
    ----------
    architecture : Architecture
        Whose encoder to take.

    Examples
    --------
    >>> from narrows.nn.dense import Dense
    >>> Headed(Dense((64,))).init
    'random'
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def build(self, sizes: Sizes) -> tuple[Network, Network]:
        own = Sizes(sizes.event, sizes.event, sizes.n_features, sizes.n_restarts, n_raw=sizes.n_raw)
        encoder, _ = self.architecture.build(own)
        ends = (sizes.n_features, sizes.n_outputs)
        head = DenseNetwork(ends, sizes.n_restarts, sizes.n_decoders, Dense((), init="xavier"))
        return encoder, head

    def stages(self, sizes: Sizes) -> list[Stage]:
        return self.architecture.stages(sizes)
