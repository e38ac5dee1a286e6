"""The parts of estimators' docstrings that all of them share."""

import inspect
from typing import TypeVar

T = TypeVar("T", bound=type)

_PARAMETERS = """\
hidden_layer_sizes : sequence of int, default=(128, 128)
    Widths of the encoder's hidden layers, mirrored in the decoder; () gives a linear model.
activation : str or callable, default="silu"
    Nonlinearity of the hidden layers: "silu", "elu", "relu", "tanh", ...
likelihood : str or Likelihood, default="gaussian"
    What a reconstruction is measured by: "gaussian", "bernoulli" (values in [0, 1]),
    "categorical" (shares of the event), "poisson" and "negative_binomial" (counts), "laplace" and
    "student_t" (robust).
scale : {"auto", "standard", "channel", "global", "none"}, default="auto"
    Scaling of the inputs, and of the targets of real-valued likelihoods, undone on the way out:
    each feature by its standard deviation ("standard", which is "auto"), all by one ("global"), or
    with one mean and one standard deviation per channel ("channel"), as the architecture reads
    channels; all values are one channel where there are none.
circular : sequence of int, default=()
    Which components, from 0, are angles.
circular_output : {"angle", "cos_sin"}, default="angle"
    Whether `transform` gives circular components as angles in radians or as pairs; whatever
    learns from codes needs pairs, which have no jump.
missing : {"error", "ignore"}, default="error"
    Whether NaN is refused, or contributes nothing to the loss and enters as the feature's mean.
architecture : str, Dense, Convolutional, Recurrent, Modules or None, default=None
    Network with all its settings, which then replace `hidden_layer_sizes` and `activation`; None
    is a dense one of these two. "recurrent" reads sequences, also of different lengths.
"""

_TRAINING = """\
max_epochs : int, default=200
    Passes over the training rows, at most: the learning rate falls towards this one.
batch_size : int, default=128
    Rows per step, of each process where several train together.
learning_rate : float, default=5e-3
    Full speed of the optimiser, > 0.
n_init : int, default=1
    Restarts from different weights, trained side by side; the best on validation rows is used.
random_state : int, RandomState, Generator or None, default=None
    Seed of split, order of batches and weights; None draws a new one.
verbose : int, default=0
    1 shows a progress bar.
training : Training or None, default=None
    Optimiser, schedule, validation, device and more; None means the defaults of `Training`.
"""

_ATTRIBUTES = """\
fve_ : array of shape (levels,)
    Fraction of variance explained by the first 1, 2, ... components, on the validation rows, which
    chose epoch and restart; the honest figure is ``fve(X_test)``. One level without an ordering.
fve_restarts_ : array of shape (restarts, levels)
    The same for every restart.
explained_variance_ratio_ : array of shape (levels,)
    Increments of `fve_`; negative ones are shown as they are.
elbow_ : int
    Number of components after which `fve_` gains little more.
restarts_ : list of estimators
    All restarts, fitted, if they were kept.
history_ : dict of arrays
    "train_loss" (epoch, term, restart), "validation_loss" (epoch, restart) whose first entry is the
    start, both per value of the data, "learning_rate" (epoch,), "best_epoch" and "best_loss"
    (restart,).
n_iter_ : int
    Epochs trained.
density_ : density of the codes, after `fit_density`
n_features_in_ : int
feature_names_in_ : array of str, if X has names
"""

_STACK = """\
hidden_layer_sizes : sequence of int, default=(256,)
    Widths of the layers, from the input; at least one.
layer : {"plain", "denoising", "contractive"} or None, default="denoising"
    What each layer is in the first phase; None leaves that phase out.
corruption : str, Corruption or callable, default="masking"
    What denoising layers undo, as in `DenoisingAutoencoder`.
strength : float or None, default=None
    Of the corruption, if that is given by name, or of the contractive penalty; None is 0.3 or 0.1.
layer_likelihood : str or Likelihood, default="gaussian"
    What the first layer's reconstruction of X is measured by, as in `Autoencoder`: "bernoulli" for
    values in [0, 1], such as images. Layers above it rebuild units, by squared error.
layer_epochs : int, default=50
    Passes over the rows for each layer, at most.
layer_learning_rate : float or None, default=None
    Full speed of the optimiser in the first phase, > 0; None is `learning_rate`.
init : {"xavier", "kaiming", "orthogonal", "random"}, default="xavier"
    How weights start, before their layer is trained; see `Dense`.
activation : str or callable, default="silu"
    Nonlinearity of the layers: "silu", "elu", "relu", "tanh", "sigmoid", ...
scale : {"auto", "standard", "global", "none"}, default="auto"
    Scaling of the inputs, as in `Autoencoder`; learned from all rows of the first phase, labelled
    or not, and without one from the labelled rows.
missing : {"error", "ignore"}, default="error"
    Whether NaN in X is refused, or enters as the feature's mean.
architecture : str, Architecture or None, default=None
    Layers below the last one of `hidden_layer_sizes`; None is dense ones of these widths.
input_dropout : float, default=0.0
    Share of the inputs, in [0, 1), that each step of the second phase masks at random; the others
    grow so that their mean stays (Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014,
    JMLR 15, 1929-1958). The validation rows are masked too, the same way after each epoch;
    predictions see all inputs.
max_epochs : int, default=200
    Passes over the labelled rows, at most.
batch_size : int, default=128
    Rows per step, of each process where several train together.
learning_rate : float, default=5e-3
    Full speed of the optimiser in the second phase, > 0.
n_init : int, default=1
    Restarts from different weights; the best on validation rows is used.
random_state : int, RandomState, Generator or None, default=None
    Seed of split, order of batches, weights and corruption; None draws a new one.
verbose : int, default=0
    1 shows a progress bar.
training : Training or None, default=None
    Optimiser, schedule, validation, device and more; None means the defaults of `Training`.
"""

_STACK_ATTRIBUTES = """\
pretrained_ : StackedAutoencoder or None
    The layers after the first phase.
network_ : Autoencoder
    The whole after the second phase: an encoder, and a linear layer that predicts.
phases_ : list of dict of arrays
    Histories of the layers, from the input.
history_ : dict of arrays
    History of the second phase.
n_iter_ : int
    Epochs of the second phase.
n_features_in_ : int
feature_names_in_ : array of str, if X has names
"""

_STEPS = """\
Each step reads rows of either kind in proportion, `batch_size` in all; of labelled ones at least
half as many as `batch_size`, or all where there are fewer, which then come on top. Of
``validation_fraction``, labelled rows are held out class by class, and unlabelled ones if those are
at least five for each class. Where a class cannot spare five, nothing is held out, as labels must
take part in choosing, and the last weights are kept. Of several restarts the best alone is kept,
whatever ``keep_restarts`` says.
"""

_CLASS_PRIOR = """\
class_prior : {"labelled", "uniform"}, default="labelled"
    p(y): the shares of the classes among the labelled rows, or the same for all. Where rows to
    be labelled were not picked at random but by class, write "uniform".
"""

_CLASSIFIER = """\
scale : {"auto", "standard", "channel", "global", "none"}, default="auto"
    Scaling of the inputs, and of the targets of real-valued likelihoods.
missing : {"error", "ignore"}, default="error"
    Whether NaN in X is refused, or contributes nothing and enters as the feature's mean.
architecture : str, Dense, Convolutional, Recurrent or None, default=None
    Network of encoder, classifier and decoder, which then replaces `hidden_layer_sizes` and
    `activation`.
"""

_CLASSIFIER_ATTRIBUTES = """\
n_iter_ : int
    Epochs trained.
n_features_in_ : int
feature_names_in_ : array of str, if X has names
"""

_MARKS = {
    "<steps>": _STEPS,
    "<class prior>": _CLASS_PRIOR,
    "<classifier>": _CLASSIFIER,
    "<classifier attributes>": _CLASSIFIER_ATTRIBUTES,
    "<stack>": _STACK,
    "<stack attributes>": _STACK_ATTRIBUTES,
    "<network>": _PARAMETERS,
    "<training>": _TRAINING,
    "<slow training>": _TRAINING.replace("default=5e-3", "default=2e-3"),
    "<attributes>": _ATTRIBUTES,
}


def documented(cls: T) -> T:
    """Fill the marks, such as <network>, in a class's docstring."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    for mark, text in _MARKS.items():
        doc = doc.replace(f"{mark}\n", text)
    cls.__doc__ = doc
    return cls
