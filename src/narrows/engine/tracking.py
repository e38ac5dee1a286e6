"""Runs in TensorBoard and in MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from narrows._errors import require, warn
from narrows._types import PathLike
from narrows.engine.callbacks import Epoch
from narrows.engine.watching import End, Start, Watcher, scalars

_RUN_TAG = "narrows.run"
_LONGEST = 500  # characters of a value that MLflow keeps with a run
_AT_ONCE = 100  # values that it takes in one call
_ENDED_WELL = ("max_epochs", "patience", "callback")


class TensorBoard(Watcher):
    """Shows losses, learning rate and seconds by epoch in TensorBoard, while a fit goes on.

    Needs ``pip install 'narrows[track]'``; look with ``tensorboard --logdir runs/``. Each run has a
    folder of its own, named after its estimator and run; one that goes on from a checkpoint goes on
    there, without the epochs that it takes again.

    Parameters
    ----------
    folder : str or PathLike, default="runs"
        Where the folders of runs lie; it is made if need be.

    See Also
    --------
    JsonLog : For programs.

    Examples
    --------
    >>> from narrows import Autoencoder, TensorBoard, Training
    >>> model = Autoencoder(2, training=Training(callbacks=[TensorBoard("runs/")]))
    """

    def __init__(self, folder: PathLike = "runs") -> None:
        self.folder = folder

    def begin(self, start: Start) -> None:
        """Open the folder of a run.

        Raises
        ------
        MissingExtraError
            If tensorboard is not installed.
        OSError
            If the folder cannot be made.
        """
        require("tensorboard", "track")
        from torch.utils.tensorboard import SummaryWriter

        path = Path(self.folder, f"{start.estimator or 'run'}-{start.run[:8]}")
        again = {"purge_step": start.n_done + 1} if start.n_done else {}
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OSError(
                f"Cannot make the folder '{path}': {reason}. Write TensorBoard('runs/'), say."
            ) from error
        self._writer: Any = SummaryWriter(str(path), **again)
        if not start.n_done:
            rows = [f"    {name} = {value}" for name, value in start.settings.items()]
            self._writer.add_text("settings", "\n".join(rows))

    def __call__(self, epoch: Epoch) -> None:
        """Add an epoch; a folder that cannot be written any more is a warning."""
        if self._writer is None:
            return
        try:
            for name, value in scalars(epoch).items():
                self._writer.add_scalar(name, value, epoch.number)
            self._writer.flush()
        except OSError as error:
            self._writer = None
            warn(f"TensorBoard lacks the rest of the fit: {error}")

    def end(self, end: End) -> None:
        """Add why the run ended, and close its folder."""
        if self._writer is not None:
            self._writer.add_text("end", end.reason, end.n_epochs)
            self._writer.close()
        del self._writer


class MLflow(Watcher):
    """Keeps settings, losses, learning rate and seconds by epoch as a run of MLflow.

    Needs ``pip install 'narrows[track]'``, which is enough for a server; a database of one's own
    needs ``pip install mlflow``. Within ``with mlflow.start_run():`` that run is used and stays
    open; else each run of the fit has one, and one that goes on from a checkpoint goes on in its
    own, without the epochs that it takes again. A server that goes away is warned of, and the fit
    goes on; how long each question waits for it is MLflow's, which asks seven times unless
    ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` says otherwise.

    Parameters
    ----------
    experiment : str or None, default=None
        Name of the experiment, which is made if need be; None is the one that MLflow has set.
    tracking_uri : str or None, default=None
        Server or database; None is the one that MLflow has set.

    See Also
    --------
    JsonLog : For programs.

    Examples
    --------
    >>> from narrows import Autoencoder, MLflow, Training
    >>> training = Training(callbacks=[MLflow("spectra", "http://localhost:5000")])
    >>> model = Autoencoder(2, training=training)
    """

    def __init__(self, experiment: str | None = None, tracking_uri: str | None = None) -> None:
        self.experiment = experiment
        self.tracking_uri = tracking_uri

    def begin(self, start: Start) -> None:
        """Open a run, or the one that goes on.

        Raises
        ------
        MissingExtraError
            If mlflow is not installed.
        ConnectionError
            If the server cannot be reached, or the database not be opened.
        """
        mlflow = require("mlflow", "track")
        try:
            self._open(mlflow, start)
        except mlflow.exceptions.MlflowException as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ConnectionError(
                f"MLflow cannot begin a run: {reason}. Write MLflow(tracking_uri="
                "'http://localhost:5000') of a server that runs; a database of one's own needs "
                "pip install mlflow."
            ) from error

    def __call__(self, epoch: Epoch) -> None:
        """Add an epoch."""
        if epoch.number <= self._done:
            return
        with self._going_on():
            for name, value in scalars(epoch).items():
                self._client.log_metric(self._id, _key(name), value, step=epoch.number)

    def end(self, end: End) -> None:
        """Add why the run ended, and close it if it was opened here."""
        with self._going_on():
            self._client.set_tag(self._id, "narrows.reason", end.reason)
            if self._own:
                status = "FINISHED" if end.reason in _ENDED_WELL else "KILLED"
                self._client.set_terminated(self._id, status)
        del self._client

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Warn of a server that does not answer, rather than end a fit."""
        try:
            yield
        except require("mlflow", "track").exceptions.MlflowException as error:
            warn(f"MLflow lacks part of the fit: {error} Training goes on.")

    def _open(self, mlflow: Any, start: Start) -> None:
        """Take up a run, and note its settings if it is new."""
        self._client: Any = mlflow.MlflowClient(self.tracking_uri)
        active = mlflow.active_run()
        self._own = active is None
        self._id = active.info.run_id if active is not None else self._found(mlflow, start)
        metrics = self._client.get_run(self._id).data.metrics
        past = self._client.get_metric_history(self._id, "seconds") if "seconds" in metrics else []
        self._done = max((each.step for each in past), default=0) if start.n_done else 0
        if start.n_done:
            return
        told = {"estimator": start.estimator, "random_state": start.random_state, **start.settings}
        named = {_key(name): str(value)[:_LONGEST] for name, value in told.items() if name}
        known = self._client.get_run(self._id).data.params
        new = [mlflow.entities.Param(*pair) for pair in named.items() if pair[0] not in known]
        for first in range(0, len(new), _AT_ONCE):
            self._client.log_batch(self._id, params=new[first : first + _AT_ONCE])

    def _found(self, mlflow: Any, start: Start) -> str:
        """Return the id of the run of that name, or of a new one."""
        where = self._experiment_id(mlflow)
        if start.n_done:
            wanted = f"tags.`{_RUN_TAG}` = '{start.run}'"
            found = self._client.search_runs([where], wanted, max_results=1)
            if found:
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                return str(found[0].info.run_id)
        name = f"{start.estimator or 'run'}-{start.run[:8]}"
        made = self._client.create_run(where, tags={_RUN_TAG: start.run}, run_name=name)
        return str(made.info.run_id)

    def _experiment_id(self, mlflow: Any) -> str:
        name = self.experiment
        if name is None:
            return str(mlflow.tracking.fluent._get_experiment_id())
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)


def _key(name: str) -> str:
    """Return a name that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
