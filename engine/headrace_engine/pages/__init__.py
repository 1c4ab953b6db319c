"""Pages that people look at in a browser: forms, approvals, flows and executions. They work without JavaScript.

A page is made by a template from what the API's own parts give; `Site` is the API with the pages beside it.
"""

from headrace_engine.pages.site import Site

__all__ = ["Site"]
