"""Frozen dataclasses, made in a third of the time: a process makes two hundred before it does any work.

The standard decorator compiles six methods for each class. All but `__init__` differ between classes in the fields'
names only, so here they are shared code that knows the names. What comes out is a dataclass like any other to
`fields`, `replace`, `repr`, `==`, `hash`, `match`, `copy` and `pickle`; a type checker takes the standard decorator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

_FASTER = ({"frozen": True}, {"frozen": True, "slots": False}, {"frozen": True, "slots": True})

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """Do as dataclasses.dataclass; faster for what is frozen, and has no base's fields and no __post_init__."""

        def decorate(cls: type) -> type:
            plain = not hasattr(cls, "__post_init__") and not any(map(dataclasses.is_dataclass, cls.__bases__))
            if plain and options in _FASTER:
                return _frozen(cls, _Slotted if options.get("slots") else _Open)
            return dataclasses.dataclass(**options)(cls)

        return decorate


@dataclasses.dataclass(frozen=True, slots=True)
class _Slotted:
    """Has what the standard decorator gives to every such class alike."""


@dataclasses.dataclass(frozen=True)
class _Open:
    """As _Slotted, without slots."""


def _frozen(cls: type, like: type) -> type:
    own = {name for name, value in vars(cls).items() if value is not None}  # __hash__ is None beside an __eq__
    slots = like is _Slotted
    made: type[Any] = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    fields = dataclasses.fields(made)
    if any(field.kw_only or not field.init or field.hash is not None for field in fields):
        raise TypeError(f"{cls.__qualname__}: kw_only, init and hash of a field need the standard decorator")
    methods = {
        "__init__": _constructor(made, fields, slots=slots),
        **_comparison([field.name for field in fields if field.compare]),
        **_representation([field.name for field in fields if field.repr]),
        "__setattr__": _refuse_assignment,
        "__delattr__": _refuse_deletion,
        **{name: vars(like)[name] for name in ("__getstate__", "__setstate__") if slots},
    }
    for name, method in methods.items():
        if name not in own:
            setattr(made, name, method)
    type.__setattr__(made, "__dataclass_params__", vars(like)["__dataclass_params__"])
    return made


def _constructor(made: type, fields: Sequence[dataclasses.Field[Any]], *, slots: bool) -> Callable[..., None]:
    scope: dict[str, Any] = {"__name__": made.__module__, "_absent": MISSING, "_set": object.__setattr__}
    parameters, statements = ["self"], ["pass"]
    for name, field in ((field.name, field) for field in fields):
        value = name
        if field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_absent")
            value = f"_make_{name}() if {name} is _absent else {name}"
        else:
            scope[f"_default_{name}"] = field.default
            parameters.append(name if field.default is MISSING else f"{name}=_default_{name}")
        if slots:
            scope[f"_set_{name}"] = vars(made)[name].__set__
        statements.append(f"_set_{name}(self, {value})" if slots else f"_set(self, {name!r}, {value})")
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(statements)
    exec(source, scope)  # noqa: S102  # made of the fields' names alone
    constructor: Callable[..., None] = scope["__init__"]
    constructor.__qualname__ = f"{made.__qualname__}.__init__"
    constructor.__annotations__ = {**{field.name: field.type for field in fields}, "return": None}
    return constructor


def _comparison(names: Sequence[str]) -> Mapping[str, Callable[..., Any]]:
    values: Callable[[object], tuple[Any, ...]]  # attrgetter makes a tuple of two or more
    values = attrgetter(*names) if len(names) > 1 else lambda self: tuple([getattr(self, name) for name in names])

    def equal(self: object, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__eq__": equal, "__hash__": lambda self: hash(values(self))}


def _representation(names: Sequence[str]) -> Mapping[str, Callable[..., str]]:
    @recursive_repr()
    def represented(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join([f'{name}={getattr(self, name)!r}' for name in names])})"

    return {"__repr__": represented}


def _refuse_assignment(_: object, name: str, __: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(_: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
