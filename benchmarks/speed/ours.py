"""narrows as users run it: the epochs of a fit, timed by a callback."""

from cases import Clock

from narrows import Autoencoder, Dense, HierarchicalAutoencoder, Training, VariationalAutoencoder

HELD_OUT = 0.1


def same_network(case, X, n_epochs, n_init=1, ordering="none"):
    """Time the bare loop's network: no linear path, a random start, all rows trained on."""
    dense = Dense(case.encoder[1:-1], case.activation, linear_path=False, init="random")
    return _epochs(case, X, n_epochs, ordering, 0.0, architecture=dense, n_init=n_init)


def mixed(case, X, n_epochs):
    """Time the same network in mixed precision."""
    dense = Dense(case.encoder[1:-1], case.activation, linear_path=False, init="random")
    settings = {"architecture": dense, "precision": "bfloat16"}
    return _epochs(case, X, n_epochs, "none", 0.0, **settings)


def as_it_comes(case, X, n_epochs, n_init=1, ordering="none"):
    """Time the defaults: a linear path that starts as PCA, a tenth of the rows held out."""
    settings = {"hidden_layer_sizes": case.encoder[1:-1], "activation": case.activation}
    return _epochs(case, X, n_epochs, ordering, HELD_OUT, n_init=n_init, **settings)


def variational(case, X, n_epochs, likelihood):
    """Time a variational autoencoder of the same widths: no linear path, a random start."""
    dense = Dense(case.encoder[1:-1], case.activation, linear_path=False, init="random")
    clock = Clock()
    VariationalAutoencoder(
        case.encoder[-1],
        likelihood=likelihood,
        scale="none",
        architecture=dense,
        batch_size=case.batch_size,
        max_epochs=n_epochs + 1,
        random_state=0,
        training=Training(validation_fraction=0.0, patience=None, callbacks=[clock]),
    ).fit(X)
    return clock.seconds(case.n_steps)


def _epochs(case, X, n_epochs, ordering, held_out, precision="float32", **settings):
    clock = Clock()
    training = Training(
        validation_fraction=held_out, patience=None, callbacks=[clock], precision=precision
    )
    ranked = ordering != "none"
    kind = HierarchicalAutoencoder if ranked else Autoencoder
    model = kind(
        case.encoder[-1],
        batch_size=case.batch_size,
        max_epochs=n_epochs + 1,
        random_state=0,
        training=training,
        **({"ordering": ordering} if ranked else {}),
        **settings,
    )
    model.fit(X)
    n_rows = len(X) - round(held_out * len(X))
    return clock.seconds(-(-n_rows // case.batch_size))
