"""A run as a file of JSON lines."""

import ast
import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from narrows._errors import warn
from narrows._files import atomic
from narrows._types import PathLike
from narrows.engine.callbacks import Epoch
from narrows.engine.watching import End, Start, Watcher

_FIRST = b'{"event": '  # with which each line begins


class JsonLog(Watcher):
    """Writes what happens to a fit into a file, one JSON object a line, each written at once.

    A run begins with a line ``"event": "start"`` that holds versions, settings, sizes and seed,
    goes on with one line ``"epoch"`` for each, and closes with ``"end"``, which says why. Lines of
    other fits stay, and all lines of a run have its name in ``"run"``. A run that goes on from a
    checkpoint adds ``"resume"``, and lines of epochs that it takes again are removed: no epoch
    stands there twice. Losses are lists, one number a restart; NaN and infinity are null.

    If the disk is full, a warning says so and the fit goes on without the log.

    Parameters
    ----------
    path : str or PathLike
        The file, in a folder that exists; ``.jsonl`` is the usual suffix.

    See Also
    --------
    TensorBoard, MLflow : For those who look at runs there.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from narrows import Autoencoder, JsonLog, Training
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> training = Training(callbacks=[JsonLog("run.jsonl")])
    >>> model = Autoencoder(2, max_epochs=3, random_state=0, training=training).fit(X)
    >>> lines = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    >>> [line["event"] for line in lines]
    ['start', 'epoch', 'epoch', 'epoch', 'end']
    >>> lines[-1]["reason"]
    'max_epochs'
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path

    def begin(self, start: Start) -> None:
        """Write what is known before the first epoch.

        Raises
        ------
        ValueError
            If the file ends with something else than a line; it stays as it is.
        OSError
            If the file cannot be written.
        """
        self._run, self._lost = start.run, False
        _tidy(Path(self.path), start.run, start.n_done)
        if start.n_done:
            self._write("resume", {"epoch": start.n_done}, first=True)
            return
        settings = {name: _setting(text) for name, text in start.settings.items()}
        facts = {**vars(start), "settings": settings}
        del facts["run"], facts["n_done"]
        self._write("start", facts, first=True)

    def __call__(self, epoch: Epoch) -> None:
        """Write an epoch."""
        losses = {"train_loss": epoch.train_loss, "validation_loss": epoch.validation_loss}
        pace = {"learning_rate": epoch.learning_rate, "seconds": round(epoch.seconds, 6)}
        self._write("epoch", {"epoch": epoch.number, **losses, "terms": epoch.terms, **pace})

    def end(self, end: End) -> None:
        """Write why the run ended."""
        self._write("end", vars(end))

    def _write(self, event: str, facts: dict[str, Any], first: bool = False) -> None:
        if self._lost:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        told = {"event": event, "run": self._run, "time": now, **facts}
        line = json.dumps(_plain(told), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with open(self.path, "ab", buffering=0) as stream:
                _append(stream, line.encode(errors="backslashreplace"))
        except OSError as error:
            reason, folder = (error.strerror or str(error)).lower(), os.path.dirname(self.path)
            if isinstance(error, FileNotFoundError) and not os.path.isdir(folder or "."):
                reason = f"the folder '{folder}' does not exist"
            text = f"Cannot write '{os.fspath(self.path)}': {reason}."
            if first:
                raise OSError(f"{text} Write JsonLog('run.jsonl'), say.") from error
            self._lost = True
            warn(f"{text} Training goes on without this log.")


def _append(stream: Any, line: bytes) -> None:
    """Write a line whole, or leave the file as it was."""
    size = stream.seek(0, os.SEEK_END)
    try:
        while line:
            line = line[stream.write(line) :]
    except OSError:
        stream.truncate(size)
        raise


def _tidy(path: Path, run: str, n_done: int) -> None:
    """Remove a line that was cut off, and what a run wrote after the epochs it goes on from."""
    if not path.is_file():
        return
    content = path.read_bytes()
    cut = content[content.rfind(b"\n") + 1 :]
    if cut and not (cut.startswith(_FIRST) or _FIRST.startswith(cut)):
        raise ValueError(
            f"'{path}' does not end with a line, and is no log then. Write the name of a new file."
        )
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and _stays(line, run, n_done)]
    if len(kept) < len(lines):
        with atomic(path) as temporary:
            temporary.write_bytes(b"".join(kept))


def _stays(line: bytes, run: str, n_done: int) -> bool:
    if run.encode() not in line:
        return True
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return True
    if not isinstance(told, dict) or told.get("run") != run:
        return True
    if n_done == 0 or told.get("event") == "end":
        return False
    return told.get("event") != "epoch" or told.get("epoch", 0) <= n_done


def _setting(text: str) -> Any:
    """Return what a setting was, if it was a number, a name, true, false or none."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return text if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    """Return lists, dicts and finite numbers; NaN and infinity, which JSON lacks, are null."""
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
