"""Codes that are distributions: densities, draws, divergences and gradients, family by family."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from narrows import MixturePrior, StandardPrior, VampPrior
from narrows.nn.code import Layout
from narrows.nn.latent import Latent, drawn
from narrows.nn.posterior import Posterior
from narrows.nn.prior import Members
from narrows.parts import PARTS, resolve

N = 40_000


def families():
    """Every family of the list, with layouts that it takes."""
    for name in PARTS["code"]:
        code = resolve("code", name)
        if isinstance(code, Posterior):
            layouts = [Layout(3)] if not code.factorised else [Layout(3), Layout(3, (1,))]
            yield from (
                pytest.param(code, layout, id=f"{name}-{layout.circular}") for layout in layouts
            )


every_family = pytest.mark.parametrize(("code", "layout"), [*families()])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def parameters(code, layout, n=1, seed=0):
    """Raw outputs of an encoder for some rows, in double precision."""
    shape = (1, n, code.n_raw(layout))
    return 0.7 * torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def latent(code, layout, raw, members=None, closed=True, seed=1):
    own = code.standard(layout).to(raw)[None, None]
    members = members or Members(own, own.new_zeros(1, 1))
    masks = torch.ones(1, 1, layout.n_components if code.factorised else 1)
    features = drawn(code, raw, layout, [generator(seed)])
    return Latent(code, layout, raw, features, masks, members, closed, [generator(seed + 1)])


@every_family
def test_the_divergence_is_the_mean_over_draws(code, layout):
    """Closed forms agree with ln q - ln p of many draws, within four standard errors."""
    raw = parameters(code, layout).expand(1, N, -1)
    estimate = latent(code, layout, raw, closed=False).divergence().sum(-1)[0, 0]
    closed = code.divergence(raw[:, :1], layout)
    error = 4 * float(estimate.std()) / N**0.5
    assert float(estimate.mean()) > 0
    if closed is not None:
        assert abs(float(estimate.mean()) - float(closed.sum())) < error
    equal = code.standard(layout).double()[None, None]
    if closed is not None:
        assert abs(float(code.divergence(equal, layout).sum())) < 1e-4


@every_family
def test_the_density_belongs_to_the_draws(code, layout):
    """E_q[p / (p + q)] = E_p[q / (p + q)]: p and q are densities on the same space."""
    raw = parameters(code, layout).expand(1, N, -1)
    equal = code.standard(layout).double().expand(1, N, -1)
    shares = []
    for source, other, seed in ((raw, equal, 1), (equal, raw, 2)):
        draws = drawn(code, source, layout, [generator(seed)])
        own, others = (code.log_density(draws, at, layout).sum(-1) for at in (source, other))
        shares.append((others - own).sigmoid()[0])
    error = 4 * float((shares[0].var() + shares[1].var()).sqrt()) / N**0.5
    assert float(shares[0].mean()) == pytest.approx(float(shares[1].mean()), abs=error)


@every_family
def test_gradients_of_draws_are_those_of_finite_differences(code, layout):
    raw = parameters(code, layout, n=5).requires_grad_()
    noise = torch.randn(1, 5, code.n_noise(layout), generator=generator(3), dtype=torch.float64)
    direction = torch.randn(1, 5, layout.n_features, generator=generator(4), dtype=torch.float64)

    def value(raw):
        return float((code.draw(raw, layout, noise) * direction).sum())

    (code.draw(raw, layout, noise) * direction).sum().backward()
    for index in np.ndindex(*raw.shape):
        step = torch.zeros_like(raw)
        step[index] = 1e-5
        slope = (value(raw.detach() + step) - value(raw.detach() - step)) / 2e-5
        assert float(raw.grad[index]) == pytest.approx(slope, rel=2e-3, abs=2e-5)


@every_family
def test_terms_have_finite_gradients_at_the_ends_of_the_range(code, layout):
    for size in (-50.0, 0.0, 50.0):
        raw = torch.full((1, 4, code.n_raw(layout)), size, requires_grad=True)
        raw.data[..., 0] += 1
        latent(code, layout, raw, closed=False).divergence().sum().backward()
        assert raw.grad.isfinite().all()


def test_normal_and_laplace_divergences_are_those_of_quadrature():
    for name, density in (("gaussian", stats.norm), ("laplace", stats.laplace)):
        raw = torch.tensor([[[0.7, math.log(0.4)]]], dtype=torch.float64)
        q, p = density(0.7, 0.4), density()
        found, _ = integrate.quad(
            lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15, points=[0.0, 0.7]
        )
        closed = resolve("code", name).divergence(raw, Layout(1))
        assert float(closed) == pytest.approx(found, rel=1e-7)


@pytest.mark.parametrize("width", [0.05, 0.5, 1.5, 3.0])
def test_a_wrapped_normal_is_a_density_on_the_circle(width):
    code, layout = resolve("code", "gaussian"), Layout(1, (0,))
    raw = torch.tensor([[[math.cos(1.0), math.sin(1.0), math.log(width)]]], dtype=torch.float64)

    def density(angle):
        at = torch.tensor([[[math.cos(angle), math.sin(angle)]]], dtype=torch.float64)
        return float(code.log_density(at, raw, layout))

    mass, _ = integrate.quad(lambda a: math.exp(density(a)), 1 - math.pi, 1 + math.pi, points=[1.0])
    found, _ = integrate.quad(
        lambda a: math.exp(density(a)) * (density(a) + math.log(2 * math.pi)),
        1 - math.pi,
        1 + math.pi,
        points=[1.0],
    )
    assert mass == pytest.approx(1, abs=1e-6)
    assert float(code.divergence(raw, layout)) == pytest.approx(found, abs=2e-4)


def test_dirichlet_and_sphere_follow_known_moments():
    layout = Layout(3)
    dirichlet = resolve("code", "dirichlet")
    raw = parameters(dirichlet, layout)
    alpha = (torch.nn.functional.softplus(raw) + 0.02)[0, 0].numpy()
    draws = latent(dirichlet, layout, raw.expand(1, N, -1)).features[0].numpy()
    np.testing.assert_allclose(draws.mean(0), stats.dirichlet.mean(alpha), atol=8e-3)
    np.testing.assert_allclose(draws.var(0), stats.dirichlet.var(alpha), atol=8e-3)
    sphere = resolve("code", "power_spherical")
    raw = parameters(sphere, layout)
    draws = latent(sphere, layout, raw.expand(1, N, -1)).features[0]
    direction, kappa = sphere(raw, layout)[0, 0], float(torch.nn.functional.softplus(raw[0, 0, -1]))
    torch.testing.assert_close(draws.norm(dim=1), torch.ones(N, dtype=torch.float64))
    assert float((draws @ direction).mean()) == pytest.approx(kappa / (2 + kappa), abs=8e-3)


def test_a_mixture_sums_over_its_members_and_a_level_sees_its_own_components():
    code, layout = resolve("code", "gaussian"), Layout(2)
    raw, parts = parameters(code, layout, n=4), parameters(code, layout, n=3, seed=5)
    log_weight = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64).log()
    own = latent(code, layout, raw, Members(parts, log_weight))
    masks = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]], dtype=torch.float64)
    own = Latent(code, layout, raw, own.features, masks, own.members, True, own.generators)
    z, at, width = own.features[0], parts[0, :, :2], parts[0, :, 2:].exp()
    each = torch.distributions.Normal(at, width).log_prob(z[:, None]).exp()
    weight = log_weight[0].exp()
    expected = torch.stack([(each[..., 0] * weight).sum(1), (each.prod(-1) * weight).sum(1)])
    torch.testing.assert_close(own.log_prior()[0], expected.log())


@pytest.mark.parametrize("prior", [StandardPrior(), MixturePrior(4), VampPrior(4)])
def test_priors_draw_what_their_density_says(prior):
    """A histogram of draws is the density, summed over the members."""
    code, layout = resolve("code", "gaussian"), Layout(1)
    network = prior.build(code, layout, n_values=1, n_restarts=1)
    network.reset([generator()])
    with torch.no_grad():
        members = network(lambda rows: torch.cat([2 * rows, rows - 1], -1))
    own = latent(code, layout, parameters(code, layout).float(), members)
    draws = own.sample(N)[0, :, 0].detach().numpy()
    at, width = members.raw[0].detach().numpy().T
    shares = members.log_weight[0].detach().exp().numpy()

    def below(z):
        return stats.norm.cdf(np.asarray(z)[..., None], at, np.exp(width)) @ shares

    assert stats.kstest(draws, below).pvalue > 1e-3
