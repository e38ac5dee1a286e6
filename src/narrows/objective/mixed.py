"""Tables of mixed columns: one likelihood per group of columns."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from narrows._errors import nearest
from narrows._types import Array
from narrows.objective.likelihoods import Entries, Likelihood, Link
from narrows.parts import resolve


class Mixed(Likelihood):
    """One likelihood per group of columns: real, binary, categorical, counts.

    The loss is the sum over the groups, each in its own units: squared errors in scaled units for
    gaussian columns, nats for the others. Missing entries contribute nothing; of a categorical
    group, all columns are missing or none.

    Parameters
    ----------
    groups : sequence of (likelihood, columns)
        A likelihood, by name or as an object, and the columns of the target it is for, by name or
        by number from 0. The columns of a categorical group are the shares of its categories, one
        group per question.
    rest : str or Likelihood, default="gaussian"
        The likelihood of columns that no group names.

    Examples
    --------
    >>> import numpy as np
    >>> from narrows import Autoencoder, Mixed
    >>> rng = np.random.default_rng(0)
    >>> size = rng.normal(size=(300, 1))
    >>> X = np.hstack([size + 0.1 * rng.normal(size=(300, 2)), size > 0, rng.poisson(np.exp(size))])
    >>> kinds = Mixed([("bernoulli", [2]), ("poisson", [3])])
    >>> model = Autoencoder(1, likelihood=kinds, max_epochs=20, random_state=0).fit(X)
    >>> model.reconstruct(X)[:, 2].max() <= 1
    np.True_
    """

    def __init__(self, groups: Sequence[Any] = (), rest: str | Likelihood = "gaussian") -> None:
        self.groups = groups
        self.rest = rest

    def placed(self, names: Sequence[str] | None, n_values: int) -> "Mixed":
        """Return the same with all columns as numbers, those left over a group of their own.

        Raises
        ------
        ValueError
            If a column does not exist, or stands in two groups.
        """
        groups = [self._group(group, names, n_values) for group in self.groups]
        used = Counter(column for _, columns in groups for column in columns)
        twice = sorted(column for column, count in used.items() if count > 1)
        if twice:
            raise ValueError(
                f"groups of Mixed name column {twice[0]} more than once. Name each column once."
            )
        left = tuple(column for column in range(n_values) if column not in used)
        return Mixed((*groups, (resolve("likelihood", self.rest), left)) if left else groups)

    @staticmethod
    def _group(
        group: Any, names: Sequence[str] | None, n_values: int
    ) -> tuple[Likelihood, tuple[int, ...]]:
        if not isinstance(group, (tuple, list)) or len(group) != 2:
            raise ValueError(
                f"{group!r} is not a group of Mixed. Write pairs of a likelihood and its columns, "
                'such as ("bernoulli", [2, 3]).'
            )
        kind = clone(resolve("likelihood", group[0]))
        if isinstance(kind, Mixed):
            raise ValueError("A group of Mixed is itself Mixed. Write its groups one by one.")
        columns = [group[1]] if isinstance(group[1], (str, int)) else group[1]
        places = tuple(_place(column, names, n_values) for column in columns)
        if not places:
            raise ValueError(f"The group {kind!r} of Mixed has no columns. Name some, or drop it.")
        return kind, places

    @property
    def canonical(self) -> Link:  # type: ignore[override]
        """Between the decoder's output and the mean of the data, group by group."""
        return Link(
            lambda output: self._joined(lambda kind, o: kind.link(o), output),
            lambda mean: self._joined(lambda kind, m: kind.unlink(m), mean),
        )

    @property
    def scales_target(self) -> Array:  # type: ignore[override]
        """Which columns are standardised with the inputs."""
        scaled = np.zeros(sum(len(columns) for _, columns in self.groups), dtype=bool)
        for kind, columns in self.groups:
            scaled[list(columns)] = kind.scales_target
        return scaled

    @property
    def learns(self) -> str:  # type: ignore[override]
        """One width per column, if any group learns one."""
        return "none" if all(kind.learns == "none" for kind, _ in self.groups) else "feature"

    @property
    def density(self) -> bool:  # type: ignore[override]
        """Whether the loss of every group is minus the logarithm of a density."""
        return all(kind.density for kind, _ in self.groups)

    def loss(self, target: Entries, output: Entries, log_width: Tensor | None) -> Entries:
        return self._joined(lambda kind, *parts: kind.loss(*parts), target, output, log_width)

    def saturated(self, target: Entries, log_width: Tensor | None) -> Entries:
        return self._joined(lambda kind, *parts: kind.saturated(*parts), target, log_width)

    def draw(
        self, output: Entries, log_width: Tensor | None, generators: Sequence[torch.Generator]
    ) -> Entries:
        return self._joined(lambda kind, *own: kind.draw(*own, generators), output, log_width)

    def check(self, target: Array) -> None:
        for kind, columns in self.groups:
            own = target[:, list(columns)]
            missing = np.isnan(own)
            whole = own[~missing.all(1)]
            if not len(whole):
                continue
            try:
                kind.check(whole)
            except ValueError as error:
                raise ValueError(f"In the columns {list(columns)}: {error}") from error

    def _joined(self, function: Callable[..., Entries], *tensors: Tensor | None) -> Entries:
        """Apply a function of (likelihood, the group's columns of each tensor) to all groups."""
        order = [column for _, columns in self.groups for column in columns]
        sizes = [len(columns) for _, columns in self.groups]
        split = [
            [None] * len(sizes) if tensor is None else tensor[..., order].split(sizes, -1)
            for tensor in tensors
        ]
        parts = [
            function(kind, *own)
            for (kind, _), own in zip(self.groups, zip(*split, strict=True), strict=True)
        ]
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        whole = torch.cat([part.expand(*shape, part.shape[-1]) for part in parts], -1)
        return whole[..., np.argsort(order).tolist()]


def _place(column: Any, names: Sequence[str] | None, n_values: int) -> int:
    """Return the number of a column that is given by name or number."""
    if isinstance(column, str):
        known = list(names or ())
        if column not in known:
            hint = nearest(column, known) or " Name columns by number where data has no names."
            raise ValueError(f"groups of Mixed name the column {column!r}, which X lacks.{hint}")
        return known.index(column)
    if not hasattr(column, "__index__") or not 0 <= column < n_values:
        raise ValueError(
            f"groups of Mixed name the column {column!r}, but there are {n_values}: "
            f"write numbers from 0 to {n_values - 1}, or names."
        )
    return int(column)
