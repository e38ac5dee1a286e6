"""Rows of a folder of files as one source."""

from collections import Counter
from collections.abc import Callable

from narrows.data.places import Place, in_natural_order
from narrows.data.protocol import Source
from narrows.data.views import Concatenated


def open_folder(
    folder: Place, suffixes: frozenset[str], opened: Callable[[Place], Source]
) -> Source:
    """Return the rows of all files of a folder, in the natural order of their names.

    Files that start with a dot or an underscore, which tools leave beside their data, and files of
    unknown suffixes are left out. Each file is a segment.

    Parameters
    ----------
    folder : Path or Remote
    suffixes : frozenset of str
        Those of files with rows.
    opened : callable
        Opens one.

    Raises
    ------
    ValueError
        No files with rows, files of several suffixes, a folder inside, or files whose events
        differ in shape, kind of number or names.
    """
    inside = [each for each in folder.iterdir() if each.name[:1] not in {".", "_"}]
    files = in_natural_order(each for each in inside if each.suffix.lower() in suffixes)
    if not files:
        raise ValueError(
            f"The folder '{folder}' holds no files of rows. Write the name of a folder that does."
        )
    kinds = Counter(each.suffix.lower() for each in files)
    if len(kinds) > 1:
        found = ", ".join(f"{n} {suffix}" for suffix, n in kinds.items())
        raise ValueError(
            f"The folder '{folder}' holds files of several formats: {found}. "
            "Pass a list of files, or keep one format."
        )
    for each in set(inside) - set(files):
        if each.is_dir():
            raise ValueError(
                f"The folder '{folder}' holds the folder '{each.name}' beside its files. "
                "Pass a list of folders."
            )
    sources = [opened(file) for file in files]
    for file, source in zip(files, sources, strict=True):
        _check_alike(files[0], sources[0], file, source)
    return Concatenated(sources)


def _check_alike(first: Place, model: Source, file: Place, source: Source) -> None:
    if source.names != model.names:
        one, other = (", ".join(each.names or ["no names"]) for each in (model, source))
        differ = f"has the columns {other}, '{first}' has {one}"
    elif source.shape != model.shape:
        differ = f"has events of shape {source.shape}, '{first}' of {model.shape}"
    elif source.dtype.kind != model.dtype.kind:
        differ = f"has numbers of type {source.dtype}, '{first}' of {model.dtype}"
    else:
        return
    raise ValueError(f"The file '{file}' {differ}. Files of a folder must agree.")
