"""An encoder of any architecture under one linear layer: what classifiers and regressors are."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

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
        own = replace(sizes, target=sizes.event, n_decoders=1)
        encoder, _ = self.architecture.build(own)
        ends = (sizes.n_decoded, sizes.n_outputs)
        head = DenseNetwork(ends, sizes.n_restarts, sizes.n_decoders, Dense((), init="xavier"))
        return encoder, head

    def stages(self, sizes: Sizes) -> list[Stage]:
        return self.architecture.stages(sizes)

    def joined(
        self,
        x: Float[Tensor, "network row value"],
        condition: Float[Tensor, "... row condition"],
        event: tuple[int, ...],
    ) -> Float[Tensor, "network row read"]:
        return self.architecture.joined(x, condition, event)
