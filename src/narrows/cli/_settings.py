"""The parameters of estimators and their parts as options: found in constructors, never listed.

A parameter of an estimator is ``--n-components``, one of a part ``--training.patience`` and, where
several parts may be chosen, ``--penalties.l1.strength``.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import wraps
from typing import Annotated, Any, Optional, Union

import typer

Path = tuple[str, ...]

_UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Setting:
    """One parameter of a constructor.

    Attributes
    ----------
    path : tuple of str
        ("n_components",), ("training", "patience") or ("penalties", "l1", "strength").
    annotation : object
        As the constructor has it.
    help : str
        From the docstring.
    panel : str
        Heading it stands under.
    defaults : dict
        Its default in each estimator or part that has it.
    """

    path: Path
    annotation: Any
    help: str
    panel: str
    defaults: dict[str, Any]

    @property
    def default(self) -> Any:
        """The default in the first that has it."""
        return next(iter(self.defaults.values()))

    @property
    def flag(self) -> bool:
        """Whether it is switched rather than given a value."""
        kinds = _members(self.annotation)
        return bool in kinds and str not in kinds

    @property
    def option(self) -> str:
        """What one writes: ``--training.patience``, ``--training.no-keep-restarts``."""
        *parents, name = self.path
        name = f"no_{name}" if self.flag and self.default else name
        return "--" + ".".join([*parents, name]).replace("_", "-")

    def parse(self, text: str | bool) -> Any:
        """Return the value that was written."""
        if isinstance(text, bool):
            return not self.default
        try:
            return _parsed(text, self.annotation)
        except ValueError:
            wanted = _wanted(self.annotation)
            raise ValueError(f"{self.option} takes {wanted}, not {text!r}.") from None


# From constructors to settings


def settings() -> dict[Path, Setting]:
    """Return every setting of every estimator and of its parts, by path."""
    from narrows.parts import ESTIMATORS, load

    classes = {name: load(path) for name, path in ESTIMATORS.items()}
    own = [each for name, cls in classes.items() for each in _own(cls, name)]
    nested = [each for name, cls in classes.items() for each in _nested(cls)]
    found = _merged([*own, *nested])
    for path, setting in found.items():
        if len(path) == 1 and len(setting.defaults) < len(classes):
            found[path] = replace(setting, panel=f"Settings of {', '.join(setting.defaults)}")
    return found


def _own(
    cls: type, owner: str, above: Path = (), panel: str = "Settings of the model"
) -> Iterator[Setting]:
    """Yield the parameters of a constructor that can be written: all but functions, Training."""
    hints, texts = typing.get_type_hints(cls.__init__), documented(cls)  # type: ignore[misc]
    for name, parameter in inspect.signature(cls).parameters.items():
        hint = hints.get(name, Any)
        kind = part(hint)
        if parameter.kind in _UNNAMED or _is_function(hint):
            continue
        if kind is None or axis(kind):
            default = {owner: parameter.default}
            yield Setting((*above, name), hint, texts.get(name, ""), panel, default)


def _nested(cls: type) -> Iterator[Setting]:
    """Yield the parameters of the parts that a constructor takes."""
    for name, hint in typing.get_type_hints(cls.__init__).items():  # type: ignore[misc]
        kind = part(hint)
        if kind is None:
            continue
        panel, choices = f"Settings of --{name}", _choices(kind)
        for setting in _merged(
            each
            for choice, cls in choices.items()
            for each in _own(cls, choice, (name, choice) if item(hint) else (name,), panel)
        ).values():
            some = item(hint) is None and len(setting.defaults) < len(choices)
            text = f"For {', '.join(setting.defaults)}: {setting.help}" if some else setting.help
            yield replace(setting, help=text)


def _merged(found: Iterable[Setting]) -> dict[Path, Setting]:
    merged: dict[Path, Setting] = {}
    for setting in found:
        first = merged.get(setting.path, setting)
        merged[setting.path] = replace(first, defaults=first.defaults | setting.defaults)
    return merged


def _choices(kind: type) -> dict[str, type]:
    """Return the parts of a kind by name; settings that are no axis are a part by themselves."""
    from narrows.parts import PARTS, load

    name = axis(kind)
    return {kind.__name__: kind} if name is None else {n: load(p) for n, p in PARTS[name].items()}


def axis(kind: type) -> str | None:
    """Return the axis whose parts are of a kind, or None."""
    from narrows.parts import PARTS, load

    firsts = {name: load(next(iter(known.values()))) for name, known in PARTS.items()}
    return next((name for name, first in firsts.items() if issubclass(first, kind)), None)


# What docstrings say

_SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}|\Z)", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^(\w[^:\n]*) : ([^\n]*)\n((?:[ \t]+\S[^\n]*\n?)*)", re.MULTILINE)


def documented(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each parameter."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        section = _SECTION.search(inspect.cleandoc(vars(base).get("__doc__") or "") + "\n")
        for names, kind, text in _ENTRY.findall(section[1] if section else ""):
            words = " ".join(f"{text} {_choice(kind, text)}".split())
            found |= dict.fromkeys(names.split(", "), _in_words(words))
    return found


def _choice(kind: str, text: str) -> str:
    """Return the choices of a type such as {"adam", "sgd"}, unless the text names them."""
    names = re.findall(r'"(\w+)"', kind.partition("default=")[0])
    return "" if all(f'"{name}"' in text for name in names) else f"One of {', '.join(names)}."


def _in_words(text: str) -> str:
    """Turn Python into what one writes: None and () are none, code has no quotes."""
    return re.sub(r"\bNone\b|(?<!\w)\(\)", "none", text.replace("`", ""))


# Types of parameters


def part(annotation: Any) -> type | None:
    """Return the kind of part that a parameter takes, if it takes one."""
    from narrows.parts import Part

    for member in _members(item(annotation) or annotation):
        if isinstance(member, type) and issubclass(member, Part):
            return member
    return None


def item(annotation: Any) -> Any:
    """Return the type of the items of a sequence, or None."""
    for member in _members(annotation):
        if typing.get_origin(member) is Sequence:
            return typing.get_args(member)[0]
    return None


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _is_function(annotation: Any) -> bool:
    kinds = _members(item(annotation) or annotation)
    return all(typing.get_origin(kind) is Callable for kind in kinds)


_TRUTH = {"yes": True, "no": False, "true": True, "false": False}
_NUMBERS = {int: ("N", "a whole number"), float: ("X", "a number"), Any: ("N", "a whole number")}


def _number(annotation: Any) -> Any:
    return next((kind for kind in _members(annotation) if kind in _NUMBERS), None)


def _metavar(annotation: Any) -> str:
    if inner := item(annotation):
        return f"{_metavar(inner)},..."
    number = _number(annotation)
    return "NAME" if number is None else _NUMBERS[number][0]


def _wanted(annotation: Any) -> str:
    """Return what an option takes, in words."""
    if inner := item(annotation):
        return f"values with commas between, each {_wanted(inner)}"
    return _NUMBERS[_number(annotation)][1] + (" or none" if _may_be_none(annotation) else "")


def _may_be_none(annotation: Any) -> bool:
    return bool({type(None), Any} & set(_members(annotation)))


def _parsed(text: str, annotation: Any) -> Any:
    if text.lower() == "none" and _may_be_none(annotation):
        return None
    if bool in _members(annotation) and text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    if inner := item(annotation):
        return () if text == "none" else tuple(_parsed(each, inner) for each in text.split(","))
    number = _number(annotation)
    if number is None:
        return text.strip()
    return float(text) if number is float else int(text)


# From settings to options


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command whose ``**settings`` became one option per setting it has no name for."""
    signature = inspect.signature(command)
    *fixed, _ = signature.parameters.values()
    found = settings().values()
    options = [_option(each) for each in found if each.path[0] not in signature.parameters]

    def wrapper(**values: Any) -> None:
        try:
            command(**values)
        except (ValueError, OSError) as error:
            if len(error.args) == 1:
                error.args = (_in_options(str(error), {*signature.parameters}),)
            raise

    wrapper.__doc__ = command.__doc__
    wrapper.__annotations__ = {each.name: each.annotation for each in (*fixed, *options)}
    vars(wrapper)["__signature__"] = signature.replace(parameters=[*fixed, *options])
    return wrapper


def with_words(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command without settings whose errors speak of its options, not of Python."""
    names = {*inspect.signature(command).parameters}

    @wraps(command)
    def wrapper(**values: Any) -> None:
        try:
            command(**values)
        except ValueError as error:
            error.args = (_in_own_options(str(error), names), *error.args[1:])
            raise

    return wrapper


_PART = re.compile(r"\b\w+=(?:narrows\.)?[A-Z]\w+\((\w+=[^()]*)\)")
_ASSIGNMENT = re.compile(r"\b(\w+)=(?:'([^']*)'|\(([\w., ]*)\)|([\w.+-]*\w))")
_QUOTED = re.compile(r"((?<![=(\w])'[^']*')")  # names, which stay as they are


def _in_own_options(message: str, names: Set[str]) -> str:
    """Say ``--level 7`` where an error speaks of a command's own level=7.

    What a model is told when it is fitted is an option of ``narrows fit``.
    """
    of_fit = {path[0] for path in settings() if len(path) == 1}

    def translated(match: re.Match[str]) -> str:
        option = f"--{match[1].replace('_', '-')} {_value(match)}"
        if match[1] in names:
            return option
        return f"narrows fit {option}" if match[1] in of_fit else match[0]

    parts = _QUOTED.split(message)
    parts[::2] = [_ASSIGNMENT.sub(translated, part) for part in parts[::2]]
    return "".join(parts).replace("that save wrote", "that narrows fit wrote")


def _value(match: re.Match[str]) -> str:
    return match[2] or (match[3] or "").replace(" ", "").rstrip(",") or match[4] or "none"


def _in_options(message: str, own: Set[str]) -> str:
    """Say ``--n-init 8`` where an error speaks Python: n_init=8."""
    known = settings()
    nested = {path[-1]: each for path, each in known.items()}
    named = nested | {path[0]: each for path, each in known.items() if len(path) == 1}

    def translated(match: re.Match[str]) -> str:
        setting = named.get(match[1])
        if setting is None:
            return match[0]
        return setting.option if setting.flag else f"{setting.option} {_value(match)}"

    def said(part: str) -> str:
        part = _ASSIGNMENT.sub(translated, _PART.sub(r"\1", part))
        part = re.sub(r"\b(\w+)=(?=[,.\s])", r"--\1", part)
        part = re.sub(r"\bJsonLog\('([^']*)'\)", r"--json-log \1", part)
        return re.sub(r"\bNone\b", "none", part)

    parts = _QUOTED.split(message)
    parts[::2] = map(said, parts[::2])
    return _in_own_options("".join(parts), own)


def _option(setting: Setting) -> inspect.Parameter:
    """Return the parameter of a command that stands for a setting; None if it is not written."""
    option = typer.Option(
        setting.option,
        metavar=None if setting.flag else _metavar(setting.annotation),
        help=setting.help,
        show_default=_shown(setting),
        rich_help_panel=setting.panel,
    )
    return inspect.Parameter(
        "__".join(setting.path),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[bool if setting.flag else str], option],  # noqa: UP045
    )


def _shown(setting: Setting) -> str | bool:
    """Return the default in words, and whose it is where they differ."""
    if setting.flag:
        return "yes" if setting.default else False
    texts = {owner: _written(default) for owner, default in setting.defaults.items()}
    if len(set(texts.values())) == 1:
        return texts.popitem()[1]
    return ", ".join(f"{text} for {owner}" for owner, text in texts.items())


def _written(default: Any) -> str:
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return "none" if default in (None, "") else str(default)
