"""What an operator configures: by option, by environment variable (``HEADRACE_…``), in ``headrace.yaml``.

The first of these that has a key counts.

One table of keys says all there is. A key ``server.port`` is the variable ``HEADRACE_SERVER_PORT``, and in the file

    server:
      port: 8080

Words may be written as ``secretKey`` or ``secret-key``. A file of Kestra's is read, too: what stands below ``kestra:``
there and means the same here counts; what has no meaning here is told of, once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from headrace_cli.config_values import (
    MASK,
    address,
    addresses,
    count,
    credentials,
    defaults,
    duration,
    encryption_key,
    mapping,
    only,
    path,
    plain,
    port,
    prefixes,
    seconds,
    size,
    switch,
    text,
)
from headrace_cli.errors import UserError
from headrace_cli.local import LocalOptions
from headrace_engine.context import Surroundings
from headrace_engine.plugin import CodePolicy
from headrace_engine.services import Settings

FILE = Path("headrace.yaml")
"""Read when it is there and no other is named."""
FILE_VARIABLE = "HEADRACE_CONFIG"
_PREFIX = "HEADRACE_"
_NOT_OURS = frozenset({FILE_VARIABLE, "HEADRACE_PYTHON", "HEADRACE_SERVER", "HEADRACE_TOKEN"})
"""Variables with the prefix that are no keys."""


@dataclass(frozen=True, slots=True)
class Key:
    """Something that can be configured."""

    name: str
    about: str
    read: Callable[[Any], Any]
    """Returns the value of what was written. Raises ValueError with what would have been right."""
    default: Any = None
    kestra: str | None = None
    """Its name below ``kestra:``, where Kestra has it."""
    is_secret: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return _PREFIX + re.sub(r"(?<=[a-z])(?=[A-Z])|\.", "_", self.name).upper()


_SETTINGS = Settings()
KEYS: Final[Mapping[str, Key]] = {
    key.name: key
    for key in (
        Key("server.host", "The address to serve at.", text, "127.0.0.1"),
        Key("server.port", "The port; 0 takes one that is free.", port, 8080),
        Key("server.auth", "Who may ask: user:password.", credentials, kestra="server.basic-auth", is_secret=True),
        Key("server.origins", "Addresses of other sites whose pages may ask in a person's name.", addresses, ()),
        Key("server.largestBody", "Bytes that the body of a request may have.", size, 64 * 1024**2),
        Key("server.threads", "How many requests are answered at a time.", count, 16),
        Key("server.drain", "How long what runs may go on when the server stops.", duration, timedelta(seconds=30)),
        Key("dataDir", "The data folder: state and files.", path, Path(".headrace")),
        Key("flows", "A folder whose flows are loaded, and again when they change.", path),
        Key("url", "Where people find the server: `kestra.url`.", address, kestra="url"),
        Key("environment.name", "`kestra.environment.name`.", text, kestra="environment.name"),
        Key("environment.color", "`kestra.environment.color`.", text, kestra="environment.color"),
        Key("variables.globals", "`globals` in every expression.", mapping, {}, kestra="variables.globals"),
        Key(
            "variables.envVarsPrefix",
            "Prefixes of the environment variables that are `envs`.",
            prefixes,
            ("KESTRA_", "ENV_"),
            kestra="variables.env-vars-prefix",
        ),
        Key(
            "encryption.secretKey",
            "The key that seals secrets: 32 bytes in base64. Without it the data folder has one of its own.",
            encryption_key,
            kestra="encryption.secret-key",
            is_secret=True,
        ),
        Key("plugins.defaults", "pluginDefaults of every flow.", defaults, (), kestra="plugins.defaults"),
        Key("storage.type", "Where files lie: local.", only("local"), "local", kestra="storage.type"),
        Key(
            "storage.path",
            "The folder of internal storage. Without it, one in the data folder.",
            path,
            kestra="storage.local.base-path",
        ),
        Key("secrets.dotenv", "A file of variables, read for `SECRET_<KEY>`.", path, Path(".env")),
        Key(
            "docker.enabled",
            "Whether what names a container image runs in Docker; else as a process.",
            switch,
            default=True,
        ),
        Key("docker.volumes", "Whether flows may mount folders of the machine Docker runs on.", switch, default=False),
        Key("limits.workers", "How many dispatched task runs go on at a time.", count, 32),
        Key(
            "limits.lease",
            "How long a light task may take before it may be lost.",
            duration,
            timedelta(seconds=_SETTINGS.lease_seconds),
        ),
        Key("limits.inline", "Bytes above which outputs go to storage.", size, _SETTINGS.output_inline_limit),
        Key("limits.subflowDepth", "How deep subflows may lie in each other.", count, _SETTINGS.subflow_depth),
        Key(
            "limits.flowTriggerChain",
            "How many executions Flow triggers may start in a chain.",
            count,
            _SETTINGS.flow_trigger_chain,
        ),
        Key(
            "limits.itemsAtOnce",
            "How many executions of one ForEachItem go on at once.",
            count,
            _SETTINGS.items_at_once,
        ),
    )
}
"""All that can be configured, by name."""

_OF_KESTRA: Final = {key.kestra: key for key in KEYS.values() if key.kestra is not None}
_WITHOUT_MEANING: Final = (
    "kestra.queue",
    "kestra.repository",
    "kestra.anonymous-usage-report",
    "kestra.tutorial-flows",
    "kestra.templates",
    "kestra.variables.cache-enabled",
    "kestra.variables.cache-size",
    "kestra.server-type",
    "datasources",
    "micronaut",
    "endpoints",
    "logger",
    "netty",
    "jackson",
)
"""What files of Kestra hold that changes nothing here."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it comes from."""

    value: Any
    source: str = "default"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is configured: a value for every key."""

    given: Mapping[str, Given]
    notes: Sequence[str] = field(default=())
    """What a person should know: keys that change nothing."""

    def __getitem__(self, name: str) -> Any:
        """Return the value of a key."""
        return self.given[name].value

    def shown(self) -> Iterator[tuple[Key, Any, str]]:
        """Return each key with its value as data, a secret one masked, and where it comes from."""
        for name, key in KEYS.items():
            found = self.given[name]
            masked = key.is_secret and found.value is not None
            yield key, MASK if masked else plain(found.value), found.source

    def settings(self, environment: Mapping[str, str], url: str) -> Settings:
        """Return an engine's settings; *url* is the server's own address, where none is configured."""
        named = {"name": self["environment.name"], "color": self["environment.color"]}
        return Settings(
            surroundings=Surroundings(
                envs=Surroundings.of(environment, prefixes=self["variables.envVarsPrefix"]).envs,
                variables=self["variables.globals"],
                environment={name: value for name, value in named.items() if value is not None},
                url=self["url"] or url,
            ),
            plugin_defaults=self["plugins.defaults"],
            code=CodePolicy(docker=self["docker.enabled"], volumes=self["docker.volumes"]),
            lease_seconds=seconds(self["limits.lease"]),
            output_inline_limit=self["limits.inline"],
            subflow_depth=self["limits.subflowDepth"],
            flow_trigger_chain=self["limits.flowTriggerChain"],
            items_at_once=self["limits.itemsAtOnce"],
        )

    def options(self, environment: Mapping[str, str], url: str) -> LocalOptions:
        """Return what a local runtime is opened with."""
        return LocalOptions(
            settings=self.settings(environment, url),
            encryption_key=self["encryption.secretKey"],
            storage=self["storage.path"],
            dotenv=self["secrets.dotenv"],
            workers=self["limits.workers"],
            schedules=True,
        )

    def options_of_run(self, environment: Mapping[str, str], *, keeps: bool, docker: bool) -> LocalOptions:
        """Return what a local runtime is opened with for one flow; *keeps*: on a folder that stays.

        Nothing fires beside that flow, and what is gone afterwards is stored nowhere else. Without *docker*, what asks
        for a container runs as a process.
        """
        options = self.options(environment, "")
        return replace(options, schedules=False, storage=options.storage if keeps else None, docker=docker)


def load(file: Path | None, environment: Mapping[str, str], options: Mapping[str, Any]) -> Configuration:
    """Return what is configured.

    *file* is None for the one that the environment names, or else the current folder's, if it has one. *options* are
    what the command line gave, by the keys' names; None stands for nothing given. Raises UserError.
    """
    given = {name: Given(key.default) for name, key in KEYS.items()}
    notes: list[str] = []
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    if named is not None or FILE.is_file():
        given |= _read_file(named or FILE, notes)
    for name, key in KEYS.items():
        if environment.get(key.variable):  # one that is empty gives nothing
            given[name] = Given(_read(key, environment[key.variable], key.variable), key.variable)
    notes += _unknown_variables(environment)
    for name, value in options.items():
        if value is not None:
            given[name] = Given(_read(KEYS[name], value, "the command line"), "command line")
    return Configuration(given, notes)


def _read_file(file: Path, notes: list[str]) -> dict[str, Given]:
    try:
        root = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: {reason}.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file}: it is not YAML: {' '.join(str(error).split())}") from None
    found: dict[str, Given] = {}
    if root is None:
        return found
    for key, node, place in _keys_in(root, "", file, notes):
        where = f"{file}:{place}"
        if key.name in found:
            raise UserError(f"{where}: `{key.name}` is given a second time; first in {found[key.name].source}.")
        value = _read(key, _plain(node), where)
        if isinstance(value, Path):
            value = file.parent / value  # a file means the same wherever the command is called
        found[key.name] = Given(value, where)
    return found


def _keys_in(node: yaml.Node, above: str, file: Path, notes: list[str]) -> Iterator[tuple[Key, yaml.Node, int]]:
    """Find the keys of a file, with what they are given and their line. Raises UserError for a key that is none."""
    if not isinstance(node, yaml.MappingNode):
        where = f"`{above}`" if above else "it"
        raise UserError(f"{file}:{node.start_mark.line + 1}: {where} is a map of keys.")
    for name_node, value in node.value:
        line = name_node.start_mark.line + 1
        name = f"{above}.{name_node.value}" if above else str(name_node.value)
        key = _key(name)
        if key is not None:
            yield key, value, line
        elif _is_above(name):
            yield from _keys_in(value, name, file, notes)
        elif any(_kebab(name) == each or _kebab(name).startswith(f"{each}.") for each in _WITHOUT_MEANING):
            notes.append(f"{file}:{line}: `{name}` has no meaning here and is left out.")
        else:
            raise UserError(f"{file}:{line}: there is no key `{name}`{_nearest(name)}")


def _key(name: str) -> Key | None:
    own = _kebab(name)
    if own.startswith("kestra."):
        return _OF_KESTRA.get(own.removeprefix("kestra."))
    return next((key for key in KEYS.values() if _kebab(key.name) == own), None)


def _is_above(name: str) -> bool:
    """Return whether there are keys below *name*."""
    return any(each.startswith(f"{_kebab(name)}.") for each in (*_names(), *_WITHOUT_MEANING))


def _names() -> list[str]:
    return [*(_kebab(name) for name in KEYS), *(f"kestra.{name}" for name in _OF_KESTRA)]


def _kebab(name: str) -> str:
    """Return a name with its words apart: ``encryption.secret-key``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


def _nearest(name: str) -> str:
    written = {_kebab(own): own for own in KEYS}
    near = difflib.get_close_matches(_kebab(name), _names(), n=1)
    if not near:
        # The right word in a wrong place.
        last = _kebab(name).rpartition(".")[2]
        near = [each for each in written if each.rpartition(".")[2] == last][:1]
    return f"; did you mean `{written.get(near[0], near[0])}`?" if near else "."


def _plain(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _read(key: Key, value: Any, where: str) -> Any:
    try:
        return key.read(value)
    except ValueError as error:
        shown = "what is given" if key.is_secret else f"`{value}`"
        raise UserError(f"{where}: `{key.name}` is {error}, not {shown}.") from None


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Tell of variables that look like a key's and are none."""
    known = {key.variable for key in KEYS.values()} | _NOT_OURS
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if near:
                yield f"There is no variable {name}; did you mean {near[0]}?"
