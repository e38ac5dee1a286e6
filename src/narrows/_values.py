"""Values from a file, checked before anything is built from them."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from narrows import parts
from narrows._errors import nearest


def count(name: str, value: Any, most: int, least: int = 1) -> int:
    """Return a whole number in a range; raise ValueError for anything else."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name}={value!r} is not a whole number from {least} to {most}.")
    return value


def check_kinds(cls: type, settings: dict[str, Any]) -> None:
    """Raise ValueError unless settings are of the kinds that a constructor is annotated with."""
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    for name, value in settings.items():
        if name not in hints:
            raise ValueError(f"{cls.__name__} has no setting {name!r}.{nearest(name, hints)}")
        if not fits(value, hints[name]):
            raise ValueError(f"{cls.__name__} does not take {name}={value!r}.")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is a number, a name, a part or a sequence where one is expected."""
    if isinstance(value, parts.Part):
        check_kinds(type(value), value.get_params(deep=False))
    origin, inner = get_origin(hint), get_args(hint)
    if value is None or hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin in (Sequence, tuple):
        items = value if isinstance(value, tuple) else (value,)
        return all(fits(item, inner[0]) for item in items)
    if origin is Mapping:
        return isinstance(value, dict)
    if hint in (bool, int, float):
        return isinstance(value, int | float)
    return isinstance(hint, type) and isinstance(value, hint)
