"""expressions.md, from the engine's registry, its limits and the examples in expression_examples, rendered."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import groupby
from typing import Any

import expression_examples as examples
from page_parts import code, generated_by, table

from headrace_engine.expressions import ExpressionError, Expressions, Limits, library
from headrace_engine.expressions import registry as declared
from headrace_engine.expressions.parser import NOT_POWER, POWER

ENGINE = Expressions()

INTRODUCTION = """\
# Expressions

Texts in a flow may hold expressions: Kestra's dialect of Pebble. `{{ … }}` is replaced by the text of a value,
`{% … %}` is a tag, `{# … #}` a comment. Every result on this page was computed by the engine.

- A text without `{` is never read as a template.
- Rendering is not recursive: a value that holds `{{ … }}` stays as it is. `render(vars.x)` renders it.
- What is missing is an error that names it. `??` and `is defined` ask first. Empty roots are missing too: a flow
  without inputs has no `inputs`, so `inputs.x ?? 1` works there.
- As text, null is nothing, maps and lists are JSON, and a date is in ISO form.
- Where a property wants a list, a map or a number, the rendered text is read as one. A list prints as JSON, so
  `values: "{{ outputs.query.rows }}"` works.
- Unknown filters, functions and tests, and wrong arguments, are found when the flow is checked, not when it runs.
- `runIf`, If and LoopUntil take nothing, `false`, `0` and `-0` as false, and every other text as true.

## Traps

- **`{#` begins a comment, in scripts too.** Bash's `${#array}` is read as an open comment, and the flow is refused.
  Write `$(echo "$text" | wc -c)`, keep the script in a file, or wrap the part in `{% raw %}…{% endraw %}`.
- **`??` binds tighter than a filter** (see [Binding](#binding)): `a ?? b | upper` filters whichever it is. To filter
  only the second, write `a ?? (b | upper)`.
- **`+` adds numbers, and appends when one side is a text or the left one a list.** `~` always appends.
- `jq` always gives a list: `| jq('.x') | first`. A text is read as JSON first, such as the body of an HTTP response or
  the value of a loop.
- **`is defined` asks for a value**: null is none, such as an optional input that was not given. `is empty` and
  `default` take a blank text for nothing.
- Integers divide as integers: `7 / 2` is 3.
"""

CONTEXT = """\
## What there is to name

| name | holds | when |
|---|---|---|
| `inputs` | the execution's inputs | the flow has inputs |
| `vars` | the flow's `variables`, not rendered; what SetVariables set | there are any |
| `outputs` | what tasks gave: `outputs.<task>.<name>`; in loops `outputs.<task>[<value>].<name>` | always |
| `flow` | `id`, `namespace`, `revision`, `tenantId` | always |
| `execution` | `id`, `startDate`, `originalId`, `state`; in `afterExecution` also `outputs` | always |
| `task` | `id`, `type` | in a task |
| `taskrun` | `id`, `startDate`, `attemptsCount`, `parentId`, `value`, `iteration` | in a task |
| `parent`, `parents` | the flowables around it that have a value or outputs, the nearest first | inside one |
| `tasks` | the states: `tasks.<task>.state` | always |
| `labels` | the execution's labels | there are any |
| `trigger` | what started the execution: for a child of a Subflow its parent | it was started so |
| `envs` | environment variables `ENV_…` and `KESTRA_…`, in lower case without the prefix | always |
| `globals`, `kestra` | the installation's own settings ([The server](server.md)) | always |
| `workingDir`, `outputDir` | folders of the attempt | in a task that runs on a worker: scripts, queries |
"""

PRECEDENCE = """\
## Binding

From tight to loose; operators on one line bind alike. These are Pebble's rules, and not those of Jinja or Python.
"""

METHODS = """\
Of Java's methods, which templates of Kestra can call, there are these, on texts, lists and maps. Null has none: it is
missing, and `??` asks first.
"""

CAPS = """\
## Limits

One render may do so much and no more; work of nested `render()` calls counts together. What is exceeded is named by
an error, and the task run fails. Regular expressions run on RE2, which cannot hang, and so has no back references and
no look-around. `jq` runs in a process of its own.
"""


def page() -> str:
    """Return the text of expressions.md."""
    library.load()
    variables = {name: examples.VARIABLES[name] for name in ("vars", "inputs", "envs", "taskrun", "outputs", "tasks")}
    return "\n".join(
        [
            generated_by("make_expressions.py, expression_examples.py"),
            INTRODUCTION,
            CONTEXT,
            "## What the examples see\n",
            f"```json\n{_json(variables)}\n```\n",
            "It is 2024-07-09T06:17:01Z, there is a secret `TOKEN`, a key `limit` and a file `notes.txt`.\n",
            "## Operators\n",
            table(("operators", "example", "result"), (_row([code(name)], text) for name, text in examples.OPERATORS)),
            PRECEDENCE,
            *(f"1. {line}" for line in _levels()),
            "",
            table(
                ("written", "means", "result"),
                ((*map(code, pair), result(_printed(pair[0]))) for pair in examples.BINDING),
            ),
            "## Tests\n",
            "They stand behind `is` or `is not`.\n",
            table(("test", "asks", "example", "result"), _tests()),
            "## Methods\n",
            METHODS,
            table(("method", "gives", "example", "result"), _specs(declared.METHODS, examples.METHODS)),
            "## Tags\n",
            table(("tag", "example", "result"), ((code(n), code(text), result(text)) for n, text in examples.TAGS)),
            "In a loop there are `loop.index` (from 0), `loop.length`, `loop.first` and `loop.last`. The items of a",
            "map have `key` and `value`.\n",
            "## Filters\n",
            "They stand behind `|`. Null goes through a filter untouched, unless the filter says otherwise.\n",
            table(("filter", "gives", "example", "result"), _specs(declared.FILTERS, examples.FILTERS)),
            "## Functions\n",
            table(("function", "gives", "example", "result"), _specs(declared.FUNCTIONS, examples.FUNCTIONS)),
            *_refused(),
            CAPS,
            table(("what", "at most", "name"), _limits()),
        ]
    )


def result(template: str) -> str:
    """Return what *template* renders to, as code; of what fails, the error."""
    try:
        text = ENGINE.render(template, examples.VARIABLES, examples.Outside())
    except ExpressionError as error:
        return f"error: {error.message}"
    if text == "":
        return "(nothing)"
    return code(text.replace("\n", "⏎"))


def _printed(expression: str) -> str:
    return "{{ " + expression + " }}"


def _row(begin: list[str], expression: str) -> list[str]:
    return [*begin, code(expression.replace("\n", "⏎")), result(_printed(expression))]


def _levels() -> Iterator[str]:
    yield "`.` `[ ]` `( )`, then a sign (`-a`)"
    powers = [*POWER.items(), ("not", NOT_POWER)]
    ordered = sorted(powers, key=lambda item: -item[1])
    for _, operators in groupby(ordered, key=lambda item: item[1]):
        yield " ".join(code(name) for name, _ in operators)
    yield "`? :`"


def _tests() -> Iterator[list[str]]:
    for name, spec in declared.TESTS.items():
        begin = [code(_signature(name, spec, function=False)), sentence(spec).removeprefix("Whether ")]
        yield _row(begin, examples.TESTS[name])


def _specs(known: Mapping[str, declared.Spec], given: Mapping[str, str]) -> Iterator[list[str]]:
    is_function = known is not declared.FILTERS
    for name, aliases in sorted(names_by_function(known).items(), key=lambda item: item[0].lower()):
        spec = known[name]
        signature = code(_signature(name, spec, function=is_function))
        if aliases:
            signature += f", also {', '.join(map(code, aliases))}"
        if name in examples.CALLS_OUT and is_function:
            yield [signature, sentence(spec), code(given[name]), f"*{examples.CALLS_OUT[name]}*"]
        else:
            yield _row([signature, sentence(spec)], given[name])


def names_by_function(known: Mapping[str, declared.Spec]) -> dict[str, list[str]]:
    """Return the first name of each filter or function, with its other names."""
    by_function: dict[Any, list[str]] = {}
    for name, spec in known.items():
        by_function.setdefault(_python(spec), []).append(name)
    return {first: others for first, *others in by_function.values()}


def _python(spec: declared.Spec) -> Any:
    """Return the Python function behind a declaration, whose docstring is the documentation."""
    return inspect.getclosurevars(spec.call).nonlocals["function"]


_SUPPLEMENT = {
    "timestamp": "The seconds since 1970 of a date.",
    "timestampMilli": "The milliseconds since 1970 of a date.",
    "timestampMicro": "The microseconds since 1970 of a date.",
    "timestampNano": "The nanoseconds since 1970 of a date.",
    "md5": "The MD5 digest of a text, in hexadecimal.",
    "sha1": "The SHA-1 digest of a text, in hexadecimal.",
    "sha256": "The SHA-256 digest of a text, in hexadecimal.",
    "sha512": "The SHA-512 digest of a text, in hexadecimal.",
}
"""What the docstrings do not say."""


def sentence(spec: declared.Spec) -> str:
    """Return what a filter, function or test gives, in a sentence or two."""
    text = inspect.getdoc(_python(spec)) or _SUPPLEMENT[spec.name]
    text = re.sub(r"\s+", " ", text).removeprefix("Return ")
    text = re.sub(r"\s*\(trap \d+\)", "", re.sub(r"\(trap \d+: ", "(", text)).replace("``", "`")
    for target, argument in zip(spec.targets, spec.arguments, strict=True):
        text = text.replace(f"*{target}*", f"`{argument}`")
    return text[:1].upper() + text[1:]


def _signature(name: str, spec: declared.Spec, *, function: bool) -> str:
    arguments = [
        argument if number < spec.required else f"{argument}=…" for number, argument in enumerate(spec.arguments)
    ]
    if spec.variadic:
        arguments.append("…")
    return f"{name}({', '.join(arguments)})" if arguments or function else name


def _refused() -> Iterator[str]:
    yield "Kestra has some names that are refused here, with the reason:\n"
    yield table(("function", "why not"), ((code(name), why) for name, why in declared.UNSUPPORTED.items()))


def _limits() -> Iterator[tuple[str, str, str]]:
    source = inspect.getsource(Limits)
    for each in fields(Limits):
        found = re.search(rf'{each.name}: [^\n]*\n\s+"""(.*?)"""', source, re.DOTALL)
        value = getattr(Limits(), each.name)
        yield re.sub(r"\s+", " ", found[1]).rstrip(".") if found else each.name, f"{value:,}", code(each.name)


def _json(variables: Mapping[str, Any]) -> str:
    rows = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in variables.items()]
    return "{\n" + ",\n".join(rows) + "\n}"
