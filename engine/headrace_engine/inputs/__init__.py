"""Inputs and outputs of flows: what a value may be, how it is stored, and what expressions see (reference §6, §7).

A value goes through three forms. *Given* is what somebody sent: text (command line, form field), JSON types, a
`pathlib.Path` (a file that came along), or the URI of an `Upload` (one that came before). *Stored* is what the
execution keeps: JSON only; dates as ISO text, secrets sealed, files as URIs; a flat map by input id. *Typed* is what
expressions see: datetimes, numbers, opened secrets, nested by the dots in the ids.

- `read_inputs`: given to stored, or an `InputError` with every problem.
- `validate_inputs`: the same checks for a form, one result an input; nothing is stored or sealed.
- `typed_inputs`: stored to typed, lazily.
- `read_outputs`: the rendered outputs of a flow, in the stored form.

What somebody gives is never taken for a sealed secret: whoever starts a child execution opens what is sealed first.
"""

from __future__ import annotations

from .converters import Upload
from .outputs import read_outputs
from .problems import InputError, InputProblem, OutputError
from .reading import FindUpload, Render, StoreFile, read_inputs, validate_inputs
from .view import nested, typed_inputs

__all__ = [
    "FindUpload",
    "InputError",
    "InputProblem",
    "OutputError",
    "Render",
    "StoreFile",
    "Upload",
    "nested",
    "read_inputs",
    "read_outputs",
    "typed_inputs",
    "validate_inputs",
]
