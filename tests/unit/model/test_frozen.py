"""The engine's own dataclass decorator makes what the standard one makes of the same class, of each class there is."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable, Iterator
from dataclasses import MISSING, FrozenInstanceError, field, fields, replace
from dataclasses import dataclass as standard
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

import headrace_engine
from headrace_engine.model.frozen import dataclass as ours

NAN = float("nan")


def made_by_ours() -> Iterator[type]:
    """Return every class of the engine that is a frozen dataclass and inherits no field."""
    for module in walk_packages(headrace_engine.__path__, "headrace_engine."):
        if ".testing" in module.name or ".adapters.remote" in module.name:
            continue
        for cls in vars(import_module(module.name)).values():
            if not isinstance(cls, type) or cls.__module__ != module.name:
                continue
            if getattr(vars(cls).get("__setattr__"), "__module__", "") == "headrace_engine.model.frozen":
                yield cls


CLASSES = sorted(made_by_ours(), key=lambda cls: (cls.__module__, cls.__qualname__))


def twin(cls: Any) -> Any:
    """Return what the standard decorator makes of the fields of *cls*."""
    declared = [
        (
            each.name,
            each.type,
            field(default=each.default, compare=each.compare, repr=each.repr)
            if each.default_factory is MISSING
            else field(default_factory=each.default_factory, compare=each.compare, repr=each.repr),
        )
        for each in fields(cls)
    ]
    return dataclasses.make_dataclass(cls.__qualname__, declared, frozen=True, slots="__slots__" in vars(cls))


def parameters(cls: type) -> list[tuple[str, Any, bool]]:
    signature = inspect.signature(cls)
    return [(each.name, each.kind, each.default is inspect.Parameter.empty) for each in signature.parameters.values()]


def filled(cls: Any) -> Any:
    """Return an instance: what must be given is the field's name, all else its default."""
    return cls(*[name for name, _, required in parameters(cls) if required])


def refusal(action: Callable[[], object]) -> tuple[type, str]:
    with pytest.raises(AttributeError) as refused:
        action()
    return refused.type, str(refused.value)


def test_there_are_over_two_hundred_classes() -> None:
    assert len(CLASSES) > 200


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}")
def test_a_class_is_what_the_standard_decorator_makes_of_it(cls: Any) -> None:
    other = twin(cls)
    described = [
        (each.name, each.type, each.default, each.default_factory, each.init, each.kw_only) for each in fields(cls)
    ]
    assert described == [
        (each.name, each.type, each.default, each.default_factory, each.init, each.kw_only) for each in fields(other)
    ]
    assert cls.__match_args__ == other.__match_args__
    assert vars(cls).get("__slots__") == vars(other).get("__slots__")
    assert repr(cls.__dataclass_params__) == repr(other.__dataclass_params__)
    assert parameters(cls) == parameters(other)
    assert inspect.get_annotations(cls.__init__) == inspect.get_annotations(other.__init__)


@pytest.mark.parametrize(
    "cls",
    [cls for cls in CLASSES if not inspect.isabstract(cls)],
    ids=lambda cls: f"{cls.__module__}.{cls.__qualname__}",
)
def test_an_instance_behaves_as_one_of_the_standard_decorator(cls: Any) -> None:
    one, same, other = filled(cls), filled(cls), filled(twin(cls))
    values = {each.name: getattr(one, each.name) for each in fields(cls)}
    assert {each.name: getattr(other, each.name) for each in fields(other)} == values
    assert repr(one) == repr(other)
    assert one == same
    assert one != other
    assert replace(one) == one == copy.copy(one) == copy.deepcopy(one)
    for each in fields(cls):
        changed = replace(one, **{each.name: "another"})
        assert (changed == one) is not each.compare
        assert refusal(lambda name=each.name: setattr(one, name, 1)) == refusal(
            lambda name=each.name: setattr(other, name, 1)
        )
        assert refusal(lambda name=each.name: delattr(one, name)) == refusal(
            lambda name=each.name: delattr(other, name)
        )
    try:
        assert hash(one) == hash(same)
    except TypeError as unhashable:
        with pytest.raises(TypeError, match=str(unhashable)):
            hash(other)


def both(cls: type, *, slots: bool) -> list[Any]:
    """Return what ours and the standard decorator make of a class, which is left as it is."""
    body = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    return [decorator(frozen=True, slots=slots)(type(cls.__name__, (), dict(body))) for decorator in (ours, standard)]


class Nothing:
    pass


class Single:
    value: object


class Careful:
    name: str
    secret: str = field(repr=False)
    cached: int = field(default=0, compare=False)
    rows: list[str] = field(default_factory=list)


class Silent:  # noqa: PLW1641  # what its hash is, the decorator decides
    value: object

    def __repr__(self) -> str:
        return "silent"

    def __eq__(self, other: object) -> bool:
        return True


class Counted:
    value: int
    doubled: dataclasses.InitVar[int] = 2

    def __post_init__(self, doubled: int) -> None:
        object.__setattr__(self, "value", self.value * doubled)


@pytest.mark.parametrize(
    ("cls", "one", "another"),
    [
        (Nothing, (), ()),
        (Single, (NAN,), (NAN,)),
        (Single, (1,), (2,)),
        (Single, (1,), (1.0,)),
        (Careful, ("a", "b", 1, ["x"]), ("a", "b", 2, ["x"])),
        (Careful, ("a", "b"), ("a", "c")),
        (Silent, (1,), (2,)),
        (Counted, (1,), (1, 2)),
        (Counted, (1,), (1, 3)),
    ],
)
@pytest.mark.parametrize("slots", [True, False])
def test_corners_are_as_with_the_standard_decorator(
    cls: type, one: tuple[Any, ...], another: tuple[Any, ...], slots: bool
) -> None:
    fast, slow = both(cls, slots=slots)
    assert repr(fast(*one)) == repr(slow(*one))
    assert (fast(*one) == fast(*another)) is (slow(*one) == slow(*another))
    for values in (one, another):
        try:
            expected = hash(slow(*values))
        except TypeError as unhashable:
            with pytest.raises(TypeError, match=str(unhashable)):
                hash(fast(*values))
        else:
            assert hash(fast(*values)) == expected


@ours(frozen=True, slots=True)
class Pickled:
    name: str
    rows: tuple[int, ...] = ()


def test_an_instance_can_be_pickled() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        packed = pickle.dumps(Pickled("a", (1, 2)), protocol)
        assert pickle.loads(packed) == Pickled("a", (1, 2))  # noqa: S301  # packed a line above


def test_a_default_that_a_factory_makes_is_another_one_each_time() -> None:
    @ours(frozen=True, slots=True)
    class Rows:
        rows: list[str] = field(default_factory=list)

    Rows().rows.append("mine")
    assert Rows() == Rows([])
    assert Rows(["given"]).rows == ["given"]


def test_one_that_contains_itself_can_be_shown() -> None:
    @ours(frozen=True, slots=True)
    class Node:
        below: list[Any]

    node = Node([])
    node.below.append(node)
    assert repr(node).endswith("Node(below=[...])")


def test_a_class_that_inherits_fields_or_is_ordered_is_made_by_the_standard_decorator() -> None:
    @ours(frozen=True, slots=True)
    class Base:
        first: int

    @ours(frozen=True, slots=True, order=True)
    class Derived(Base):
        second: int = 2

    assert Derived(1) < Derived(1, 3)
    assert Derived(1) != Base(1)
    with pytest.raises(FrozenInstanceError):
        Derived(1).first = 2  # type: ignore[misc]


def test_what_only_the_standard_decorator_can_make_is_refused() -> None:
    class Keyed:
        value: int = field(kw_only=True)

    with pytest.raises(TypeError, match="Keyed: kw_only, init and hash of a field need the standard decorator"):
        ours(frozen=True, slots=True)(Keyed)


def test_an_argument_too_many_is_told_with_the_name_of_the_class() -> None:
    @ours(frozen=True, slots=True)
    class Point:
        x: int

    with pytest.raises(TypeError, match=r"Point\.__init__\(\) got an unexpected keyword argument 'y'"):
        Point(x=1, y=2)  # type: ignore[call-arg]
