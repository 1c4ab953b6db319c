"""What the page about the server has people type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from docs.documents import DOCS, blocks
from docs.typed import typed

FLOW = """id: x
namespace: demo
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: "{{ secret('CHAT') | length }}"}
  - {id: told, type: io.kestra.plugin.core.log.Log, message: "It is {{ secret('CHAT') }}"}
"""
SUITE = """id: t
namespace: demo
flowId: x
testCases:
  - id: knows_it
    type: io.kestra.core.tests.flow.UnitTest
    assertions: [{value: "{{ outputs.a.value }}", equalTo: 90}]
"""


@pytest.mark.parametrize("command", ["headrace run x.yaml", "headrace test t.yaml"])
def test_a_secret_is_kept_in_a_file_as_the_page_says(tmp_path: Path, command: str) -> None:
    (block,) = (each for each in blocks(DOCS / "server.md", "sh") if "SECRET_CHAT" in each.text)
    (tmp_path / "x.yaml").write_text(FLOW)
    (tmp_path / "t.yaml").write_text(SUITE)
    value = "0123456789" * 9  # whose base64 has more than one line, unless it is told not to
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert "Cannot find secret for key 'CHAT'" in typed(command, tmp_path, environment)
    typed(block.text, tmp_path, {**environment, "VALUE": value})
    told = typed(command, tmp_path, environment)
    assert ("SUCCESS  demo.x" in told) if " run " in command else ("1 passed" in told)
    assert value not in told
