"""What importing the core loads: nothing that does I/O."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = {
    "boto3",
    "botocore",
    "sqlite3",
    "socket",
    "ssl",
    "http",
    "httpx",
    "asyncio",
    "subprocess",
    "pydantic",
    "jinja2",
}


def test_importing_the_core_loads_no_store_no_network_and_no_vendor() -> None:
    code = (
        "import pkgutil, sys, importlib, headrace_engine.core as core\n"
        "for module in pkgutil.walk_packages(core.__path__, core.__name__ + '.'): importlib.import_module(module.name)\n"
        "print('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "headrace_engine.core.decide" in loaded
    assert not FORBIDDEN & {name.split(".")[0] for name in loaded}
