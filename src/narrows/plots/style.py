"""One look for every figure: colours a colour-blind reader tells apart, thin lines, light grid."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.axis
    import matplotlib.cm
    import matplotlib.figure

# M. A. Petroff (2021), Accessible color sequences for data visualization, arXiv: 2107.02270.
PALETTE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#94a4a2",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
NEUTRAL = "#94a4a2"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
INK = "#26323d"
MUTED = "#76828d"
GRID = "#e6eaed"
IMAGE_COLOURS = "viridis"

SETTINGS: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "figure.titlesize": 11.5,
    "figure.facecolor": "white",
    "figure.dpi": 120,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "image.interpolation": "nearest",
    "figure.constrained_layout.w_pad": 0.07,
    "figure.constrained_layout.h_pad": 0.07,
}

Limits = tuple[float | int, float | int]

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Return `draw` run under this look; the caller's matplotlib settings stay as they are."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        import matplotlib

        with matplotlib.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return wrapper


def sheet(
    fig: "matplotlib.figure.FigureBase | None", width: float, height: float
) -> "matplotlib.figure.FigureBase":
    """Return `fig`, or a new figure of the given size in inches that pyplot does not know."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained") if fig is None else fig


def canvas(
    ax: "matplotlib.axes.Axes | None", width: float = 5.6, height: float = 3.6
) -> "matplotlib.axes.Axes":
    """Return `ax`, or the axes of a new figure of the given size in inches; tidied."""
    return tidy(sheet(None, width, height).subplots() if ax is None else ax)


def tidy(ax: "matplotlib.axes.Axes", grid: bool = True) -> "matplotlib.axes.Axes":
    """Leave two thin spines and a light grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=MUTED, linewidth=0.7)
    ax.tick_params(which="both", color=MUTED, labelcolor=INK, width=0.7, length=3)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, color=GRID, linewidth=0.7)
    return ax


def bare(ax: "matplotlib.axes.Axes") -> "matplotlib.axes.Axes":
    """Leave neither spines nor ticks; axis labels stay."""
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    return ax


def panels(n: int) -> tuple[int, int]:
    """Return rows and columns, at most three, for n panels."""
    columns = 2 if n == 4 else min(n, 3)
    return -(-n // columns), columns


def around(axis: "matplotlib.axis.Axis") -> None:
    """Mark the axis of an angle at -π, 0 and π."""
    axis.set_ticks([-np.pi, 0.0, np.pi], labels=["−π", "0", "π"])


def component_axis(ax: "matplotlib.axes.Axes", n_components: Sequence[int]) -> None:
    """Label the x axis with numbers of components: whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    ax.set_xlim(min(n_components) - 0.6, max(n_components) + 0.6)
    ax.grid(False, axis="x")


def gradient(values: np.ndarray) -> "matplotlib.cm.ScalarMappable":
    """Return viridis over the range of `values`, without its palest end."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    dark = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, 256))
    scale = ScalarMappable(cmap=ListedColormap(dark))
    scale.set_clim(float(np.nanmin(values)), float(np.nanmax(values)))
    return scale


def colour_bar(
    fig: "matplotlib.figure.FigureBase",
    scale: "matplotlib.cm.ScalarMappable",
    ax: Any,
    label: str = "",
) -> None:
    """Draw a colour scale beside one or several axes."""
    bar = fig.colorbar(scale, ax=ax, aspect=30, pad=0.02, label=label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=MUTED, length=2)


def component_names(names: Sequence[str] | None, n_components: int) -> list[str]:
    """Return the names given, or "component 1", "component 2", ..."""
    if names is None:
        return [f"component {k + 1}" for k in range(n_components)]
    if len(names) != n_components:
        raise ValueError(f"names is {list(names)}. Pass {n_components} names.")
    return list(names)
