"""Parts put together: one module whose forward pass returns losses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from narrows.data.batches import Batch
from narrows.nn.code import Code, Layout
from narrows.nn.dense import Architecture
from narrows.nn.ordering import Ordering
from narrows.nn.record import Record
from narrows.objective.likelihoods import Likelihood
from narrows.objective.penalties import Penalty


@dataclass(frozen=True)
class Blueprint:
    """The choice of one part per axis, and the sizes: all that is needed to build a model."""

    architecture: Architecture
    code: Code
    layout: Layout
    ordering: Ordering
    likelihood: Likelihood
    penalties: tuple[Penalty, ...]
    n_values: int
    n_outputs: int

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms of the objective: "reconstruction", then the penalties."""
        return ("reconstruction", *(type(p).__name__.lower() for p in self.penalties))


class Model(nn.Module):
    """Restarts of one autoencoder side by side.

    Every tensor leads with an axis of restarts times a number of its own, so that one restart can
    be cut out. Inputs and outputs are flat and scaled; shapes and units belong to the estimators.

    Parameters
    ----------
    blueprint : Blueprint
    n_restarts : int
    """

    def __init__(self, blueprint: Blueprint, n_restarts: int) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.n_restarts = n_restarts
        b = blueprint
        n_components = b.layout.n_components
        self.n_levels = len(b.ordering.masks(n_components))
        self.n_decoders = b.ordering.n_decoders(n_components)
        self.encoder, self.decoder = b.architecture.build(
            b.n_values, b.layout.n_features, b.n_outputs, n_restarts, self.n_decoders
        )
        width = {"none": None, "level": 1, "feature": b.n_outputs}[b.likelihood.noise]
        shape = (n_restarts, self.n_levels, 1, width or 1)
        self.log_width = None if width is None else nn.Parameter(torch.zeros(shape))
        self.generators: Sequence[torch.Generator] = ()

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial weights, one generator per restart."""
        for network in (self.encoder, self.decoder):
            network.reset(generators)

    def seed(self, generators: Sequence[torch.Generator]) -> None:
        """Set where training draws its noise from, one generator per restart; () for none."""
        for module in (self, self.encoder, self.decoder):
            module.generators = tuple(generators)

    def encode(
        self, x: Float[Tensor, "row value"]
    ) -> Float[Tensor, "{self.n_restarts} row feature"]:
        """Return the features of the code."""
        raw = self.encoder(x.expand(self.n_restarts, *x.shape))
        return self.blueprint.code(raw, self.blueprint.layout)

    def decode(
        self, features: Float[Tensor, "restart row feature"], level: int | None = None
    ) -> Float[Tensor, "restart level row output"]:
        """Return the raw outputs of all levels, or of one, counted from 0."""
        ordering = self.blueprint.ordering
        levels = None if level is None else ordering.needed(level)
        outputs = ordering.combine(self._decoded(features, self._masks(), levels))
        return outputs if level is None else outputs[:, -1:]

    def contribution(
        self, features: Float[Tensor, "restart row feature"], level: int
    ) -> Float[Tensor, "restart row output"]:
        """Return what the decoder of one level adds, before the link."""
        return self._decoded(features, self._masks(), slice(level, level + 1))[:, 0]

    def forward(self, batch: Batch) -> Float[Tensor, "term {self.n_restarts}"]:
        """Return the mean loss per value of the data, for each term and restart."""
        return torch.stack(self.terms(batch)) / self.blueprint.n_outputs

    def terms(self, batch: Batch) -> list[Float[Tensor, "{self.n_restarts}"]]:
        """Return each term of the objective, summed over the event and averaged over the rows."""
        features = self.encode(batch.x)
        shape = (self.n_restarts, len(batch))
        levels = self.blueprint.ordering.objective(
            self.blueprint.layout.n_components, shape, self.generators
        )
        record = self._record(batch, features, levels.masks, levels.index)
        terms = [self._reconstruction(record, levels.weights.to(features))]
        terms += [penalty(record) for penalty in self.blueprint.penalties]
        return [_mean(term, batch.weight) for term in terms]

    def losses(self, batch: Batch) -> Float[Tensor, "{self.n_restarts} level row"]:
        """Return the reconstruction loss of each level and row, summed over the event."""
        features = self.encode(batch.x)
        record = self._record(batch, features, self._masks(), torch.arange(self.n_levels))
        return self._entries(record).sum(-1)

    def deviance(
        self, batch: Batch, null: Float[Tensor, " output"]
    ) -> tuple[Float[Tensor, "{self.n_restarts} level"], Float[Tensor, "{self.n_restarts} level"]]:
        """Return summed half-deviances of the reconstruction and of a constant `null` output."""
        features = self.encode(batch.x)
        record = self._record(batch, features, self._masks(), torch.arange(self.n_levels))
        likelihood = self.blueprint.likelihood
        perfect = likelihood.saturated(batch.target, self.log_width).expand_as(record.outputs)
        constant = replace(record, outputs=null.expand_as(record.outputs))
        weight = None if batch.weight is None else batch.weight
        return (
            _total(self._entries(record) - _observed(perfect, record), weight),
            _total(self._entries(constant) - _observed(perfect, record), weight),
        )

    def select(self, restart: int) -> "Model":
        """Return one restart as a model of its own."""
        model = Model(self.blueprint, 1).to(next(self.parameters()))
        own = dict(model.named_parameters())
        for name, tensor in self.named_parameters():
            own[name].data.copy_(tensor.data.chunk(self.n_restarts)[restart])
        return model.eval()

    def _masks(self) -> Tensor:
        return self.blueprint.ordering.masks(self.blueprint.layout.n_components)

    def _decoded(self, features: Tensor, masks: Tensor, levels: slice | None = None) -> Tensor:
        """Decode the masked code once per level: with one decoder, levels are more rows."""
        if levels is not None:
            masks = masks[levels]
        inputs = features.unsqueeze(1)
        if len(masks) > 1 or not bool((masks == 1).all()):
            masks = masks.to(features)[..., self.blueprint.layout.component]
            inputs = inputs * (masks.unsqueeze(1) if masks.ndim == 2 else masks)
        n_restarts, n_levels, n_rows, n_features = inputs.shape
        if self.n_decoders == 1:
            outputs = self.decoder(inputs.reshape(n_restarts, -1, n_features))
        else:
            outputs = self.decoder(inputs.reshape(-1, n_rows, n_features), levels)
        return outputs.reshape(n_restarts, n_levels, n_rows, -1)

    def _record(self, batch: Batch, features: Tensor, masks: Tensor, index: Tensor) -> Record:
        outputs = self.blueprint.ordering.combine(self._decoded(features, masks))
        width = None if self.log_width is None else _pick(self.log_width, index)
        return Record(batch.x, batch.target, batch.observed, features, outputs, width)

    def _entries(self, record: Record) -> Tensor:
        loss = self.blueprint.likelihood.loss(record.target, record.outputs, record.log_width)
        return _observed(loss, record)

    def _reconstruction(self, record: Record, weights: Tensor) -> Float[Tensor, "restart row"]:
        losses = self._entries(record).sum(-1)
        if losses.shape[1] == 1:
            return losses[:, 0]
        return (losses * weights[:, None]).sum(1)


def _observed(entries: Tensor, record: Record) -> Tensor:
    return entries if record.observed is None else entries * record.observed


def _mean(term: Tensor, weight: Tensor | None) -> Float[Tensor, " restart"]:
    """Average a term over the rows; weights, of mean one over the training set, act linearly."""
    if term.ndim == 1:
        return term
    return term.mean(1) if weight is None else (term * weight).mean(1)


def _total(entries: Tensor, weight: Tensor | None) -> Float[Tensor, "restart level"]:
    rows = entries.sum(-1, dtype=entries.dtype)
    return (rows if weight is None else rows * weight).sum(-1)


def _pick(log_width: Tensor, index: Tensor) -> Tensor:
    """Return the width of each level, or, of a level drawn per sample, of each row."""
    if index.ndim == 1:
        return log_width[:, index.to(log_width.device)]
    n_restarts = torch.arange(len(index), device=index.device)[:, None]
    return log_width[n_restarts, index, 0].unsqueeze(1)
