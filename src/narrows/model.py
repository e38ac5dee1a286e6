"""Parts put together: one module whose forward pass returns losses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from narrows import _ranks
from narrows.blueprint import Blueprint, Disturbance, repeats
from narrows.corruption import Corruption, around_padding
from narrows.data.batches import Batch
from narrows.engine.learner import Learner
from narrows.nn.architecture import Network
from narrows.nn.idle import Idle
from narrows.nn.latent import Latent, drawn, sample
from narrows.nn.layers import Layered, Linear
from narrows.nn.ordering import Levels
from narrows.nn.prior import StandardPrior
from narrows.nn.record import Encoding, Record, Units
from narrows.terms import added, averaged, by_row, mean, total


class Model(Learner):
    """Restarts of one autoencoder side by side.

    Every tensor of its state leads with an axis of restarts times a number of its own, so that one
    restart can be cut out. Inputs and outputs are flat and scaled; units belong to the estimators.

    Parameters
    ----------
    blueprint : Blueprint
    n_restarts : int
    """

    _masks: Tensor
    _weights: Tensor
    _index: Tensor
    _reach: Tensor

    def __init__(self, blueprint: Blueprint, n_restarts: int) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.n_restarts = n_restarts
        b = blueprint
        n_components = b.layout.n_components
        self.n_levels = len(b.ordering.masks(n_components))
        sizes = b.sizes(n_restarts)
        self.n_decoders = sizes.n_decoders
        b.code.check(b.layout, self.n_levels > 1)
        self.encoder, self.decoder = b.architecture.build(sizes)
        self.prior = None
        if b.posterior is not None:
            prior = b.prior or StandardPrior()
            self.prior = prior.build(b.posterior, b.layout, b.n_read, n_restarts)
        self.critic = None if b.critic is None else b.critic.build(b.layout, n_restarts)
        self.keeps_last = b.critic is not None and b.critic.strength > 0
        for penalty in b.penalties:
            penalty.check(self.encoder.n_hidden, b.posterior is not None)
        self._keeps_hidden = any(penalty.layer is not None for penalty in b.penalties)
        patience = [own.silent_after for own in b.penalties if own.silent_after < math.inf]
        self.idle = Idle(patience, n_restarts, b.layout.n_features)
        width = {"none": None, "level": 1, "feature": b.n_outputs}[b.likelihood.learns]
        shape = (n_restarts, self.n_levels, 1, width or 1)
        self.log_width = None if width is None else nn.Parameter(torch.zeros(shape))
        levels = b.ordering.objective(n_components).of_features(b.layout.component)
        for name, tensor in vars(levels).items():
            self.register_buffer(f"_{name}", tensor, persistent=False)
        self.generators: Sequence[torch.Generator] = ()
        self.disturbance: Disturbance | None = None
        self.settled = max([b.code.settled, *(penalty.settled for penalty in b.penalties)])

    @property
    def repeats(self) -> bool:
        """Whether all training steps take the same operations, given the shapes of rows."""
        disturbance = self.disturbance
        return self.blueprint.repeats and (disturbance is None or repeats(disturbance.corruption))

    @cached_property
    def rowwise(self) -> bool:  # type: ignore[override]
        """Whether networks map each row by itself: modules of a user's own need not."""
        return self.encoder.rowwise and self.decoder.rowwise

    def reset(self, generators: Sequence[torch.Generator]) -> None:
        """Draw initial weights, one generator per restart."""
        for network in (self.encoder, self.decoder, self.prior, self.critic):
            if network is not None:
                network.reset(generators)

    def seed(self, generators: Sequence[torch.Generator]) -> None:
        """Set where training draws its noise from, one generator per restart; () for none."""
        for module in (self, self.encoder, self.decoder):
            module.generators = tuple(generators)

    def encode(
        self,
        x: Float[Tensor, "row value"],
        condition: Float[Tensor, "... row condition"] | None = None,
    ) -> Float[Tensor, "{self.n_restarts} row feature"]:
        """Return the features of the code."""
        return self.blueprint.code(self._raw(x, condition), self.blueprint.layout)

    def hidden(
        self,
        x: Float[Tensor, "row value"],
        condition: Float[Tensor, "row condition"] | None = None,
    ) -> list[Float[Tensor, "restart row unit"]]:
        """Return the activations of the encoder's hidden layers."""
        kept: list[Tensor] = []
        self._raw(x, condition, kept)
        return kept

    def _raw(
        self,
        x: Float[Tensor, "*restart row value"],
        condition: Float[Tensor, "... row condition"] | None,
        kept: list[Tensor] | None = None,
    ) -> Float[Tensor, "{self.n_restarts} row raw"]:
        """Return what the encoder makes of rows, the same for all restarts or each its own."""
        x = x.expand(self.n_restarts, *x.shape[-2:])
        if condition is not None:
            b = self.blueprint
            x = b.architecture.joined(x, condition, b.event_shape)
        return self._through(self.encoder, x, None, kept)

    def _through(
        self,
        network: Network,
        x: Tensor,
        levels: slice | None = None,
        kept: list[Tensor] | None = None,
    ) -> Tensor:
        """Return what a network makes of x; in half precision where training is mixed."""
        if not (self.mixed and self.training):
            return network(x, levels, kept)
        with torch.autocast(x.device.type, torch.bfloat16):
            out = network(x, levels, kept)
        if kept is not None:
            kept[:] = [layer.to(x.dtype) for layer in kept]
        return out.to(x.dtype)

    def decode(
        self,
        features: Float[Tensor, "restart row feature"],
        level: int | None = None,
        condition: Float[Tensor, "... row condition"] | None = None,
    ) -> Float[Tensor, "restart level row output"]:
        """Return the raw outputs of all levels, or of one, counted from 0."""
        ordering, masks = self.blueprint.ordering, self._masks[: self.n_levels]
        levels = None if level is None else ordering.needed(level)
        outputs = ordering.combine(self._decoded(features, masks, condition, levels))
        return outputs if level is None else outputs[:, -1:]

    def drawn_from_prior(
        self, n: int, generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "{self.n_restarts} {n} feature"]:
        """Return features of codes drawn from the prior, one generator per restart."""
        posterior = self.blueprint.posterior
        if posterior is None or self.prior is None:
            raise TypeError(f"{self.blueprint.code!r} has no prior.")
        members = self.prior(self.encoder)
        return sample(posterior, self.blueprint.layout, members, n, generators)

    def log_densities(
        self, batch: Batch, noise: Float[Tensor, "draw #row noise"]
    ) -> tuple[Float[Tensor, "draw row"], Float[Tensor, "draw row"], Float[Tensor, "draw row"]]:
        """Return ``ln p(x | z), ln p(z), ln q(z | x)`` of the last level, for codes made of noise.

        Of a single restart, in scaled units; missing entries do not count.
        """
        n, n_rows = len(noise), batch.x.shape[0]
        raw = self._raw(batch.x, batch.condition)
        draws = noise.expand(n, n_rows, -1).reshape(1, n * n_rows, -1)
        latent = self._latent(raw.repeat(1, n, 1), torch.ones_like(self._masks[:1]), draws.to(raw))
        loss = self._loss_from(batch.repeated(n), latent.features)
        found = -loss, latent.log_prior()[:, 0], latent.log_posterior()[:, 0]
        one, two, three = (part.reshape(n, n_rows) for part in found)
        return one, two, three

    def latent(
        self,
        x: Float[Tensor, "row value"],
        noise: Float[Tensor, "restart row noise"],
        condition: Float[Tensor, "row condition"] | None = None,
    ) -> Latent:
        """Return the posteriors of rows, draws from them made of noise, and the prior."""
        raw = self._raw(x, condition)
        return self._latent(raw, torch.ones_like(self._masks[:1]), noise.to(raw))

    def divergences(self, batch: Batch) -> Float[Tensor, "restart row part"] | None:
        """Return KL(q ‖ p) of each part of the code, or None without closed form."""
        b = self.blueprint
        standard = b.prior is None or b.prior.standard
        if b.posterior is None or not standard:
            return None
        raw = self._raw(batch.x, batch.condition)
        return b.posterior.divergence(raw, b.layout)

    def contribution(
        self,
        features: Float[Tensor, "restart row feature"],
        level: int,
        condition: Float[Tensor, "row condition"] | None = None,
    ) -> Float[Tensor, "restart row output"]:
        """Return what the decoder of one level adds, before the link."""
        return self._decoded(features, self._masks, condition, slice(level, level + 1))[:, 0]

    def forward(self, batch: Batch) -> list[Float[Tensor, " {self.n_restarts}"]]:
        """Return each term of the objective as a mean per value of the data."""
        with _ranks.drawing(batch.share):
            record, levels = self._trained(batch)
            if self.blueprint.n_draws > 1:
                terms = self._weighed(record, batch, levels)
                means = [mean(term, batch, levels.weights) for term in terms]
                return [each / self.blueprint.n_outputs for each in means]
            terms = self._added(record, batch, levels)
            added = [mean(term, batch, levels.weights) for term in terms]
            rebuilt = averaged(self._entries(record), levels.weights, batch.weight)
            return [
                batch.portion_of(rebuilt),
                *(each / self.blueprint.n_outputs for each in added),
            ]

    def terms(self, batch: Batch) -> list[Float[Tensor, " {self.n_restarts}"]]:
        """Return each term of the objective, summed over the event and averaged over the rows."""
        return [term * self.blueprint.n_outputs for term in self(batch)]

    def objective(self, batch: Batch) -> Float[Tensor, "{self.n_restarts} row"]:
        """Return the whole objective row by row, weights included; its mean is that of `terms`."""
        whole = torch.as_tensor(sum(self.row_terms(batch)))
        return whole if batch.weight is None else whole * batch.weight

    def row_terms(self, batch: Batch) -> list[Float[Tensor, "{self.n_restarts} row"]]:
        """Return each term of the objective row by row, summed over the event, without weights."""
        with _ranks.drawing(batch.share):
            record, levels = self._trained(batch)
            if self.blueprint.n_draws > 1:
                terms = self._weighed(record, batch, levels)
            else:
                terms = [self._entries(record).sum(-1), *self._added(record, batch, levels)]
        shape = (self.n_restarts, len(batch))
        return [by_row(term, levels.weights).expand(shape) for term in terms]

    def _weighed(self, record: Record, batch: Batch, levels: Levels) -> list[Tensor]:
        """Return the terms of the k-sample bound, draws weighed by their importance.

        With weights w of the draws and their shares ŵ, ``-ln mean w`` is the mean of the terms of
        the draws with weights ŵ, plus KL(ŵ ‖ equal shares); its gradient is that of the mean with
        ŵ held fixed (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519). So each term keeps its
        name, and the last is that divergence.
        """
        n, n_rows = self.blueprint.n_draws, len(batch)
        terms = [self._entries(record).sum(-1), *self._added(record, batch, levels)]
        bound = [True, *(penalty.bound for penalty in self.blueprint.penalties)]
        split = [t if t.ndim < 2 else t.unflatten(-1, (n, n_rows)) for t in terms]
        minus_log = sum(term for term, own in zip(split, bound, strict=True) if own)
        log_share = (-torch.as_tensor(minus_log)).detach().log_softmax(-2)
        share = log_share.exp()
        gap = (share * (log_share + math.log(n))).sum(-2)
        means = [
            (term * share).sum(-2) if own else term if term.ndim < 2 else term.mean(-2)
            for term, own in zip(split, bound, strict=True)
        ]
        return [*means, gap]

    def _trained(self, batch: Batch) -> tuple[Record, Levels]:
        """Return what the objective reads: levels are drawn while training, if at all."""
        levels = Levels(self._masks, self._weights, self._index, self._reach)
        if self.generators and self.training:
            levels = self.blueprint.ordering.draw(levels, len(batch), self.generators)
        x = batch.x.expand(self.n_restarts, *batch.x.shape)
        if self.disturbance is None or not self.generators:
            return self._record(batch, x, levels, draws=True), levels
        noisy, hit = self._corrupted(self.disturbance.corruption, batch)
        record = self._record(batch, noisy, levels, draws=True)
        if hit is None or not self.disturbance.emphasised:
            return record, levels
        emphasis = torch.where(hit, *self.disturbance.emphasis).to(x.dtype)
        return replace(record, emphasis=emphasis.repeat(1, self.blueprint.n_draws, 1)), levels

    def _code(self, raw: Tensor) -> Tensor:
        """Return features as they are in training, or outside it."""
        progress = self.progress if self.training else None
        return self.blueprint.code(raw, self.blueprint.layout, progress)

    def _corrupted(self, corruption: Corruption, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return corrupted rows, and what was hit; a corruption may read the rows of others."""
        x = batch.x if batch.whole is None else batch.whole.x
        x, noise = x.expand(self.n_restarts, *x.shape), self._noise(x.device)
        sequential = self.blueprint.architecture.sequential
        noisy, hit = around_padding(corruption, x, noise) if sequential else corruption(x, noise)
        if batch.share is None:
            return noisy, hit
        rows = batch.share.rows
        return noisy[:, rows], None if hit is None else hit[:, rows]

    def _noise(self, where: torch.device) -> Sequence[torch.Generator]:
        """Return where noise is drawn from: in evaluation the same numbers every time."""
        if self.training and self.generators:
            return self.generators
        return [torch.Generator(where).manual_seed(0) for _ in range(self.n_restarts)]

    def _added(self, record: Record, batch: Batch, levels: Levels) -> list[Tensor]:
        """Return each penalty for every row, or for the batch where it is a statistic of it."""
        b = self.blueprint
        return [added(penalty, record, batch, levels.weights, b.n_draws) for penalty in b.penalties]

    def losses(self, batch: Batch) -> Float[Tensor, "{self.n_restarts} level row"]:
        """Return the reconstruction loss of each level and row, summed over the event."""
        return self._entries(self._all_levels(batch)).sum(-1)

    def deviance(
        self, batch: Batch, null: Float[Tensor, " output"]
    ) -> tuple[Float[Tensor, "{self.n_restarts} level"], Float[Tensor, "{self.n_restarts} level"]]:
        """Return summed half-deviances of the reconstruction and of a constant `null` output."""
        record = self._all_levels(batch)
        likelihood = self.blueprint.likelihood
        perfect = _observed(likelihood.saturated(batch.target, self.log_width), record)
        constant = replace(record, outputs=null.expand_as(record.outputs))
        return (
            total(self._entries(record) - perfect, batch.weight),
            total(self._entries(constant) - perfect, batch.weight),
        )

    def excess(self, batch: Batch) -> Float[Tensor, "{self.n_restarts} level row output"]:
        """Return the loss of each entry above that of a perfect reconstruction."""
        record = self._all_levels(batch)
        perfect = self.blueprint.likelihood.saturated(batch.target, self.log_width)
        return self._entries(record) - _observed(perfect, record)

    def select(self, restart: int) -> "Model":
        """Return one restart as a model of its own."""
        model = Model(self.blueprint, 1).to(next(self.parameters()))
        own = model.state_dict()
        for name, tensor in self.state_dict().items():
            own[name].copy_(tensor.chunk(self.n_restarts)[restart])
        return model.eval()

    def restore(self, other: "Model", which: Bool[Tensor, " restart"]) -> None:
        """Take some restarts from another model of the same blueprint."""
        own = self.state_dict()
        for name, tensor in other.state_dict().items():
            rows = which.repeat_interleave(len(tensor) // self.n_restarts)
            own[name][rows] = tensor[rows]

    @property
    def masks(self) -> Float[Tensor, "level 1 feature"]:
        """Which features of the code the decoder of each level sees."""
        return self._masks[: self.n_levels]

    def _decoded(
        self,
        features: Tensor,
        masks: Tensor,
        condition: Tensor | None,
        levels: slice | None = None,
    ) -> Tensor:
        """Decode the masked code once per level: with one decoder, levels are more rows."""
        inputs = features.unsqueeze(1)
        if len(self._masks) > 1:
            inputs = inputs * (masks if levels is None else masks[levels])
        if condition is not None:
            known = condition.unsqueeze(-3).expand(*inputs.shape[:-1], -1)
            inputs = torch.cat([inputs, known], -1)
        n_restarts, n_levels, n_rows, n_features = inputs.shape
        if self.n_decoders == 1:
            outputs = self._through(self.decoder, inputs.reshape(n_restarts, -1, n_features))
        else:
            rows = inputs.reshape(-1, n_rows, n_features)
            outputs = self._through(self.decoder, rows, levels)
        return outputs.reshape(n_restarts, n_levels, n_rows, -1)

    def _all_levels(self, batch: Batch) -> Record:
        n = self.n_levels
        levels = Levels(self._masks[:n], self._weights[:n], self._index[:n], self._reach)
        return self._record(batch, batch.x.expand(self.n_restarts, *batch.x.shape), levels)

    def _record(
        self,
        batch: Batch,
        x: Float[Tensor, "{self.n_restarts} row value"],
        levels: Levels,
        draws: bool = False,
    ) -> Record:
        """Return what comes of inputs, which may differ from the batch's own by corruption.

        Codes that are distributions are drawn where the objective asks for it, several for each
        row as further rows, else they are the location.
        """
        hidden: list[Tensor] | None = [] if self._keeps_hidden else None
        raw = self._raw(x, batch.condition, hidden)
        latent, masks = None, levels.masks
        if self.prior is not None and draws:
            n = self.blueprint.n_draws
            if n > 1:
                raw, batch = raw.repeat(1, n, 1), batch.repeated(n)
                masks = masks if masks.ndim < 4 else masks.repeat(1, 1, n, 1)
                levels = replace(levels, index=_repeated(levels.index, n))
                hidden = hidden and [layer.repeat(1, n, 1) for layer in hidden]
            latent = self._latent(raw, masks)
        features = self._code(raw) if latent is None else latent.features
        outputs = self.blueprint.ordering.combine(self._decoded(features, masks, batch.condition))
        width = None if self.log_width is None else _pick(self.log_width, levels.index)
        units = raw if self.prior is None else features
        idle = self.idle.counted(features, batch.share)
        return Record(
            batch.x,
            batch.target,
            batch.observed,
            batch.weight,
            features,
            outputs,
            width,
            self.encoding(batch.x.device, batch.condition, batch),
            hidden or (),
            Units(
                units,
                idle,
                self.idle.longest if self.training else 0.0,
                lambda other: self._loss_from(batch, other),
            ),
            latent=latent,
            progress=self.progress if self.training else None,
            share=batch.share,
        )

    def _latent(self, raw: Tensor, masks: Tensor, noise: Tensor | None = None) -> Latent:
        """Return a draw of each code, beside the prior; from noise, or from the generators."""
        b, generators = self.blueprint, self._noise(raw.device)
        posterior = b.posterior
        if posterior is None or self.prior is None:
            raise TypeError(f"{b.code!r} is no distribution.")
        seen = masks[..., : b.layout.n_components]
        seen = seen.cumsum(0) if b.ordering.additive else seen
        closed = b.n_draws == 1 and (b.prior is None or b.prior.standard)
        with _ranks.drawing_for_all():
            members = self.prior(self.encoder)
        return Latent(
            posterior,
            b.layout,
            raw,
            drawn(posterior, raw, b.layout, generators)
            if noise is None
            else posterior.draw(raw, b.layout, noise),
            seen if posterior.factorised else seen.new_ones(1, 1, 1),
            members,
            closed,
            generators,
        )

    def _loss_from(self, batch: Batch, features: Tensor) -> Float[Tensor, "restart row"]:
        """Return the loss of each row when its code is another, at the last level."""
        outputs = self.decode(features, self.n_levels - 1, batch.condition)
        width = None if self.log_width is None else self.log_width[:, self.n_levels - 1 :][:, :1]
        loss = self.blueprint.likelihood.loss(batch.target, outputs, width)[:, 0]
        return (loss if batch.observed is None else loss * batch.observed).sum(-1)

    def encoding(
        self,
        where: torch.device,
        condition: Tensor | None = None,
        batch: Batch | None = None,
    ) -> Encoding:
        """Return how the code comes about, for terms that differentiate it.

        Noise is that of the rows of a batch, if one is given.
        """
        encoder, layer = self.encoder, None
        elementwise = self.blueprint.code.elementwise and not self.blueprint.layout.circular
        if isinstance(encoder, Layered) and elementwise:
            first, *more = encoder.layers
            weight = encoder.weights[0][:, : self.blueprint.n_values]
            layer = weight if isinstance(first, Linear) and not more else None

        def network(x: Tensor) -> Tensor:
            # Copies of a row stand together.
            if batch is not None and batch.share is not None:
                with _ranks.drawing(batch.share.repeated_each(x.shape[1] // len(batch))):
                    return read(x)
            return read(x)

        def read(x: Tensor) -> Tensor:
            if condition is None:
                return self._raw(x, None)
            return self._raw(x, condition.repeat_interleave(x.shape[1] // len(condition), 0))

        return Encoding(network, self._code, layer, self._noise(where))

    def _entries(self, record: Record) -> Tensor:
        loss = self.blueprint.likelihood.loss(record.target, record.outputs, record.log_width)
        loss = _observed(loss, record)
        return loss if record.emphasis is None else loss * record.emphasis.unsqueeze(1)


def _observed(entries: Tensor, record: Record) -> Tensor:
    return entries if record.observed is None else entries * record.observed


def explained(error: Tensor, spread: Tensor) -> Tensor:
    """Return ``1 - error / spread``; where nothing varies, 1 if it is met exactly, else 0."""
    met = torch.where(error > 0, 0.0, 1.0).to(error)
    return torch.where(spread > 0, 1 - error / spread, met)


def _repeated(index: Tensor, n: int) -> Tensor:
    """Return the level of each row, of rows that are repeated."""
    return index if index.ndim == 1 else index.repeat(1, n)


def _pick(log_width: Tensor, index: Tensor) -> Tensor:
    """Return the width of each level, or, of a level drawn per sample, of each row."""
    if index.ndim == 1:
        return log_width[:, index.to(log_width.device)]
    n_restarts = torch.arange(len(index), device=index.device)[:, None]
    return log_width[n_restarts, index, 0].unsqueeze(1)
