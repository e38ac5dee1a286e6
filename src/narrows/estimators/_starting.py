"""The start of a fit: every level of the model is PCA, or probabilistic PCA, of the rows."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from narrows.blueprint import Blueprint
from narrows.model import Model
from narrows.nn import start

# Share of the prior's variance that is left to a component which says nothing, and least variance
# of the noise, in scaled units
_UNINFORMED, _QUIETEST = 0.95, 1e-4


class Linear(NamedTuple):
    """A linear autoencoder: ``raw = x encoder + shift``, ``output = features paths + constant``."""

    encoder: Float[Tensor, "value raw"]
    shift: Float[Tensor, " raw"]
    paths: Float[Tensor, "feature output"]
    constant: Float[Tensor, " output"]


class Told(NamedTuple):
    """What a condition tells, linearly: ``value - mean = (condition - mean) slopes``."""

    mean: Float[Tensor, " condition"]
    of_rows: Float[Tensor, "condition value"]
    of_targets: Float[Tensor, "condition output"]

    def rows(self, condition: Float[Tensor, "row condition"]) -> Float[Tensor, "row value"]:
        """Return what is told of rows, besides their mean."""
        return ((condition.double() - self.mean) @ self.of_rows).to(condition)

    def targets(self, condition: Float[Tensor, "row condition"]) -> Float[Tensor, "row output"]:
        """Return what is told of targets, besides their mean."""
        return ((condition.double() - self.mean) @ self.of_targets).to(condition)


def start_as_pca(
    model: Model,
    rows: Float[Tensor, "row value"],
    targets: Float[Tensor, "row output"],
    weight: Float[Tensor, " row"],
    condition: Float[Tensor, "row condition"] | None = None,
) -> None:
    """Set the linear paths so that every level is PCA, on all rows of X.

    With a condition, PCA of what the linear regression on it leaves.

    A code of independent distributions starts as probabilistic PCA (Tipping & Bishop 1999,
    10.1111/1467-9868.00196): codes shrunk by what the noise leaves in doubt, posteriors as wide as
    that doubt, noise as wide as the residuals.
    """
    b = model.blueprint
    mean, centre = _mean(rows, weight), _mean(targets, weight)
    told = None
    if condition is not None:
        told = _told(condition, rows, targets, weight)
        rows, targets = rows - told.rows(condition), targets - told.targets(condition)
    centred = (rows - mean) * weight.sqrt()[:, None]
    whiten = not (b.architecture.tied or b.architecture.unit_norm)
    encoder, width = start.linear_codes(centred, b.layout.n_features, whiten)
    order = _axes_of_features(b)
    encoder, width = encoder[:, order], width[order]
    codes = centred.double() @ encoder
    spread = (targets - centre) * weight.sqrt()[:, None]
    back = start.loadings(codes, spread)
    # A circular pair has unit length where a whitened pair has length √2.
    back[len(b.layout.plain) :] *= 2**0.5
    constant, slope = _link(b, centre.double())
    linear = Linear(encoder, -mean.double() @ encoder, back * slope, constant)
    if b.posterior is not None and not b.posterior.linear:
        linear = _regressed(b, linear, rows, spread, slope)
    _start_noise(model, linear, rows, targets, weight)
    if b.posterior is not None and b.posterior.linear:
        linear = _probabilistic(model, linear, centre.double(), whiten)
    _set(model, linear if told is None else _conditioned(b, linear, told, slope))


def _told(
    condition: Float[Tensor, "row condition"],
    rows: Float[Tensor, "row value"],
    targets: Float[Tensor, "row output"],
    weight: Float[Tensor, " row"],
) -> Told:
    """Return the linear regressions of rows and targets on their condition."""
    mean, root = _mean(condition, weight).double(), weight.double().sqrt()[:, None]
    known = (condition.double() - mean) * root
    both = torch.cat([rows, targets], 1).double()
    slopes = torch.linalg.pinv(known, rtol=1e-6) @ ((both - both.mean(0)) * root)
    return Told(mean, *slopes.split([rows.shape[1], targets.shape[1]], 1))


def _conditioned(
    b: Blueprint, linear: Linear, told: Told, slope: Float[Tensor, " output"]
) -> Linear:
    """Return a linear autoencoder of residuals as one of rows, which reads the condition."""
    blank = torch.zeros(1, len(told.mean), b.n_values, dtype=torch.float64)
    copies = b.architecture.joined(blank, torch.eye(len(told.mean)).double(), b.event_shape)
    into = -torch.linalg.pinv(copies[0, :, b.n_values :]) @ told.of_rows @ linear.encoder
    added = told.of_targets * slope
    return Linear(
        torch.cat([linear.encoder, into]),
        linear.shift + told.mean @ told.of_rows @ linear.encoder,
        torch.cat([linear.paths, added]),
        linear.constant - told.mean @ added,
    )


def _set(model: Model, linear: Linear) -> None:
    """Start all networks of a model, restarts and levels, from the same linear autoencoder."""
    n, b = model.n_restarts, model.blueprint
    model.encoder.start(_repeat(linear.encoder, n), _repeat(linear.shift, n)[:, None])
    bias = linear.constant.expand(model.n_decoders, 1, -1).clone()
    if b.ordering.additive:
        bias[1:] = 0
    paths = linear.paths.expand(n * model.n_decoders, -1, -1).clone()
    if b.ordering.additive:
        paths.unflatten(0, (n, -1))[:, 1:, b.layout.n_features :] = 0
    model.decoder.start(paths.float(), bias.repeat(n, 1, 1).float())


def _start_noise(
    model: Model,
    linear: Linear,
    rows: Float[Tensor, "row value"],
    targets: Float[Tensor, "row output"],
    weight: Float[Tensor, " row"],
) -> None:
    """Set widths that are learned to those of the residuals, level by level."""
    b, log_width = model.blueprint, model.log_width
    if log_width is None:
        return
    measured = torch.as_tensor(np.broadcast_to(b.likelihood.scales_target, b.n_outputs).copy())
    raw = rows.double() @ linear.encoder + linear.shift
    features = b.code(raw[None], b.layout)[0]
    for level, mask in enumerate(model.masks[:, 0].double()):
        seen = model.masks[: level + 1, 0].amax(0).double() if b.ordering.additive else mask
        rest = (features * seen) @ linear.paths + linear.constant - targets
        variance = (rest.square() * weight[:, None]).sum(0) / weight.sum()
        # PCA leaves no residual along its own axes.
        variance = variance * b.n_outputs / (b.n_outputs - seen.sum()).clamp_min(1)
        if b.likelihood.learns == "level":
            variance = variance.mean(0, keepdim=True)
        own = measured if len(variance) > 1 else measured[:1]
        width = variance.clamp_min(_QUIETEST).log() / 2
        log_width.data[:, level] = torch.where(own, width, 0.0).to(log_width)


def _probabilistic(
    model: Model, linear: Linear, centre: Float[Tensor, " output"], whiten: bool
) -> Linear:
    """Return PCA as probabilistic PCA: shrunk codes, and the widths of their posteriors."""
    layout = model.blueprint.layout
    told = (linear.paths.square() * _curvature(model, linear.constant, centre)).sum(1)
    told = told.clamp_min(1e-12)
    n = len(layout.plain)
    plain, cosine, sine = told.split([n, len(layout.circular), len(layout.circular)])
    doubt = (1 / plain).clamp_max(_UNINFORMED) if whiten else 1 / (1 + plain)
    shrunk = torch.ones_like(told)
    if whiten:
        shrunk[:n] = (1 - doubt).sqrt()
    around = 1 / (1 + (cosine + sine) / 2)
    log_width = torch.cat([doubt, around]).log() / 2
    return Linear(
        torch.cat(
            [
                linear.encoder * shrunk,
                linear.encoder.new_zeros(len(linear.encoder), len(log_width)),
            ],
            1,
        ),
        torch.cat([linear.shift * shrunk, log_width]),
        linear.paths * shrunk[:, None],
        linear.constant,
    )


def _regressed(
    b: Blueprint,
    linear: Linear,
    rows: Float[Tensor, "row value"],
    spread: Float[Tensor, "row output"],
    slope: Float[Tensor, " output"],
) -> Linear:
    """Return the encoder's first raw outputs as PCA, and the regression of the targets on codes."""
    n_raw, n = b.code.n_raw(b.layout), linear.encoder.shape[1]
    encoder = linear.encoder.new_zeros(len(linear.encoder), n_raw)
    shift = linear.shift.new_zeros(n_raw)
    encoder[:, : min(n, n_raw)], shift[: min(n, n_raw)] = (
        linear.encoder[:, :n_raw],
        linear.shift[:n_raw],
    )
    features = b.code((rows.double() @ encoder + shift)[None], b.layout)[0]
    centre = features.mean(0)
    moved = features - centre
    gram = moved.T @ moved
    ridge = 1e-3 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    paths = torch.linalg.solve(gram + ridge, moved.T @ spread.double()) * slope
    return Linear(encoder, shift, paths, linear.constant - centre @ paths)


def _curvature(
    model: Model, output: Float[Tensor, " output"], mean: Float[Tensor, " output"]
) -> Float[Tensor, " output"]:
    """Return the second derivative of the loss of each value, at the constant output."""
    width = None if model.log_width is None else model.log_width[0, -1, 0].detach().double()
    point = output.clone().requires_grad_()
    with torch.enable_grad():
        loss = model.blueprint.likelihood.loss(mean, point, width).sum()
        (slope,) = torch.autograd.grad(loss, point, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), point)
    return curvature.nan_to_num(0.0).clamp_min(0)


def _mean(rows: Float[Tensor, "row value"], weight: Float[Tensor, " row"]) -> Tensor:
    return (rows.double() * weight[:, None]).sum(0).div(weight.sum()).to(rows)


def _axes_of_features(blueprint: Blueprint) -> list[int]:
    """Return which principal axis each feature starts as: one per plain, two per circular."""
    axis, first = 0, {}
    for component in range(blueprint.layout.n_components):
        first[component] = axis
        axis += 2 if component in blueprint.layout.circular else 1
    layout = blueprint.layout
    cosines = [first[j] for j in layout.circular]
    return [first[j] for j in layout.plain] + cosines + [axis + 1 for axis in cosines]


def _link(blueprint: Blueprint, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output that gives the mean, and the slope of the inverse link there."""
    point = mean.clone().requires_grad_()
    with torch.enable_grad():
        output = blueprint.likelihood.unlink(point)
        (slope,) = torch.autograd.grad(output.sum(), point)
    return output.detach(), slope.nan_to_num(0.0).clamp(-100, 100)


def _repeat(tensor: Tensor, n: int) -> Tensor:
    return tensor.float().expand(n, *tensor.shape)
