"""What is shipped to Lambda: small enough, for the right processor, and with all that its code imports."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cdk import App

from bundles import CACHE, packed
from example_flows import CHECKOUT
from headrace_cdk import HeadraceProps, HeadraceStack
from headrace_cdk.bundle import FOR_SCRIPTS, PACKAGES, Bundle, BundleError, Bundler, Target, installed_python

ARM, INTEL = 183, 62
"""What an ELF header calls the processors."""
MEGABYTE = 1_000_000
LIMITS = {Bundle.PLATFORM: 20 * MEGABYTE, Bundle.WORKER: 60 * MEGABYTE, Bundle.SCRIPT: 60 * MEGABYTE}
LAYER_LIMIT = 75 * MEGABYTE
CODE = [bundle for bundle in Bundle if bundle is not Bundle.PROGRAMS]
UNPACKED_LIMIT = 250 * 1024 * 1024
OF_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3")
FOR_THE_WORKER = {"duckdb", "psycopg"}
HERE = Target(
    f"{sys.version_info.major}.{sys.version_info.minor}",
    {"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
)


def built(target: Target, bundle: Bundle) -> Path:
    """Return a bundle; skips where the package index cannot be reached."""
    try:
        return packed(target, bundle)
    except BundleError as error:
        if any(
            words in str(error) for words in ("dns error", "error sending request", "Connection refused", "offline")
        ):
            pytest.skip(f"the package index cannot be reached: {str(error)[-300:]}")
        raise


@pytest.fixture(scope="module", params=[("arm64", bundle) for bundle in CODE], ids=lambda param: param[1])
def shipped(request: pytest.FixtureRequest) -> Iterator[tuple[Bundle, Path, zipfile.ZipFile]]:
    """Yield the bundles of a deployment that chooses nothing."""
    architecture, bundle = request.param
    path = built(Target("3.13", architecture), bundle)
    with zipfile.ZipFile(path) as archive:
        yield bundle, path, archive


def libraries(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the native libraries."""
    return [name for name in archive.namelist() if ".so" in Path(name).name]


def processor(header: bytes) -> int:
    """Return the processor an ELF file is for."""
    assert header[:4] == b"\x7fELF"
    assert header[4:6] == b"\x02\x01", "64 bits, little-endian"
    return int.from_bytes(header[18:20], "little")


def test_every_native_library_is_for_the_functions_processor(shipped: tuple[Bundle, Path, zipfile.ZipFile]) -> None:
    bundle, _, archive = shipped
    found = libraries(archive)
    assert len(found) >= (12 if bundle is Bundle.WORKER else 8)
    for name in found:
        with archive.open(name) as file:
            assert processor(file.read(20)) == ARM, name


def test_a_bundle_is_small_enough(shipped: tuple[Bundle, Path, zipfile.ZipFile]) -> None:
    bundle, path, archive = shipped
    assert path.stat().st_size < LIMITS[bundle]
    assert sum(entry.file_size for entry in archive.infolist()) < UNPACKED_LIMIT


def test_a_bundle_holds_our_packages_and_nothing_that_is_not_run(
    shipped: tuple[Bundle, Path, zipfile.ZipFile],
) -> None:
    bundle, _, archive = shipped
    names = archive.namelist()
    assert len(names) == len(set(names)), "a file stands twice"
    top = {name.partition("/")[0] for name in names}
    assert set(PACKAGES) <= top
    assert not top & {"headrace_cli", "headrace_cdk", "click", "rich", "numpy", *OF_THE_RUNTIME} - {"jmespath"}
    assert not [name for name in names if "/tests/" in name or name.endswith(".pyi")]
    assert any(name.startswith("_duckdb.") for name in names) is (bundle is Bundle.WORKER)
    assert not top & {"kestra.py", "requests"}, "what scripts import has a place of its own"
    assert (f"{FOR_SCRIPTS}/kestra.py" in names) is (bundle is Bundle.SCRIPT)
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_a_cold_start_imports_is_compiled_for_the_functions_python(
    shipped: tuple[Bundle, Path, zipfile.ZipFile],
) -> None:
    if installed_python("3.13") is None:
        pytest.skip("no Python 3.13 is installed here")
    _, _, archive = shipped
    names = set(archive.namelist())
    compiled = {name for name in names if name.endswith(".pyc")}
    suffix = ".cpython-313.pyc"
    for name in compiled:
        folder, _, module = name.rpartition("__pycache__/")
        assert f"{folder}{module.removesuffix(suffix)}.py" in names
        # PEP 552: bytecode that is used without a look at its source, whose date Lambda may change.
        assert archive.read(name)[4:8] == b"\x01\0\0\0"
    for module in ("headrace_functions/{}executor", "headrace_engine/{}executor", "headrace_tasks/{}log"):
        assert f"{module.format('__pycache__/')}{suffix}" in compiled
    assert f"pydantic/__pycache__/main{suffix}" in compiled
    assert not [name for name in compiled if name.startswith("holidays/")], "what few flows import is not"


def test_the_same_code_makes_the_same_bundle(tmp_path: Path) -> None:
    target = Target("3.13", "arm64")
    made = built(target, Bundle.PLATFORM)
    for path in CACHE.glob(f"libraries-{target}-*.zip"):
        shutil.copyfile(path, tmp_path / path.name)
    again = Bundler(target, tmp_path).build(Bundle.PLATFORM)
    assert (again.name, again.read_bytes()) == (made.name, made.read_bytes())


def test_a_python_that_is_not_installed_is_not_found() -> None:
    assert installed_python("3.0") is None
    assert installed_python(HERE.python) == sys.executable


def imported_names() -> set[str]:
    """Return the top-level names of all that our packages import anywhere, but for the standard library and ours."""
    found = set()
    for folder in ("engine/headrace_engine", "functions", "runners", "tasks"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            if "testing" in (*path.parts, path.stem):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    found.add(node.module.partition(".")[0])
    ours = {*PACKAGES, "mypy_boto3_dynamodb"}
    return {name for name in found - ours - sys.stdlib_module_names if not name.startswith("mypy_boto3")}


# What `script` has beside people's libraries is what `platform` has: the slow run asks that one, too.
@pytest.fixture(
    scope="module", params=[pytest.param(Bundle.PLATFORM, marks=pytest.mark.slow), Bundle.WORKER, Bundle.SCRIPT]
)
def unpacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, list[str]]:
    """Return a bundle for this machine, unpacked, with what Lambda's runtime brings, as a search path."""
    import importlib.util

    folder = tmp_path_factory.mktemp("bundle")
    with zipfile.ZipFile(built(HERE, request.param)) as archive:
        archive.extractall(folder)
    runtime = tmp_path_factory.mktemp("runtime")
    for name in OF_THE_RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        (runtime / name).symlink_to(spec.submodule_search_locations[0])
    return request.param, [str(folder), str(runtime)]


def in_bundle(path: list[str], code: str) -> str:
    """Return what *code* prints in a Python that has the standard library and *path*."""
    begin = f"import sys; sys.path.extend({path!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "ignore", "-c", begin + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_that_is_imported_anywhere_is_packed(unpacked: tuple[Bundle, list[str]]) -> None:
    bundle, path = unpacked
    wanted = imported_names()
    assert wanted > FOR_THE_WORKER, "the search finds what is imported inside functions, too"
    code = (
        "import importlib.util, json\n"
        f"print(json.dumps([name for name in {sorted(wanted)!r} if importlib.util.find_spec(name) is None]))"
    )
    missing = set(json.loads(in_bundle(path, code)))
    assert missing == (set() if bundle is Bundle.WORKER else FOR_THE_WORKER)


def test_every_handler_and_task_type_can_be_imported_from_it(unpacked: tuple[Bundle, list[str]]) -> None:
    code = """
import importlib, pkgutil, headrace_functions, headrace_tasks, headrace_engine, headrace_runners
for package in (headrace_functions, headrace_tasks, headrace_engine, headrace_runners):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith((".__main__", "jq_child")):
            importlib.import_module(module.name)
from headrace_engine.language import Registry
assert Registry.load().task("io.kestra.plugin.core.log.Log") is not None
print("all of it")
"""
    assert in_bundle(unpacked[1], code) == "all of it\n"


def test_libraries_that_were_made_smaller_work_as_before(unpacked: tuple[Bundle, list[str]]) -> None:
    code = """
import datetime, json
from decimal import Decimal
from babel import Locale, dates, localedata, numbers
from amazon.ion import simpleion
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
import holidays, jq, re2, yaml, zoneinfo
at = datetime.datetime(2026, 3, 1, 14, 5, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
found = {}
for name in sorted(localedata.locale_identifiers()):
    locale = Locale.parse(name)
    found[name] = [
        *(dates.format_datetime(at, form, locale=locale) for form in ("short", "medium", "long", "full")),
        *(list(dates.get_month_names(width, locale=locale).values()) for width in ("wide", "abbreviated", "narrow")),
        list(dates.get_day_names("wide", locale=locale).values()),
        list(dates.get_quarter_names("wide", locale=locale).values()),
        dict(dates.get_period_names("abbreviated", "format", locale)),
        dates.get_timezone_name(at, "long", locale=locale),
        numbers.format_decimal(Decimal("1234567.891"), locale=locale),
        locale.first_week_day,
    ]
assert simpleion.loads("{a: 1}")["a"] == 1
key = AESGCM(bytes(32))
assert key.decrypt(bytes(12), key.encrypt(bytes(12), b"text", None), None) == b"text"
assert datetime.date(2026, 5, 1) in holidays.country_holidays("DE", years=2026)
assert jq.compile(".a").input_value({"a": 2}).first() == 2
assert re2.fullmatch("a+", "aaa") and yaml.safe_load("{a: 1}") == {"a": 1}
print(json.dumps(found, sort_keys=True))
"""
    here = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    bundled, installed = json.loads(in_bundle(unpacked[1], code)), json.loads(here.stdout)
    assert len(installed) > 1000
    assert bundled == installed


def test_the_workers_databases_answer(unpacked: tuple[Bundle, list[str]]) -> None:
    bundle, path = unpacked
    code = """
import importlib.util
if importlib.util.find_spec("duckdb") or importlib.util.find_spec("psycopg"):
    import duckdb, psycopg
    print(duckdb.sql("select 40 + 2").fetchall()[0][0], psycopg.pq.__impl__)
else:
    print("none")
"""
    assert in_bundle(path, code) == ("42 binary\n" if bundle is Bundle.WORKER else "none\n")


def test_people_s_code_imports_what_the_function_itself_does_not(unpacked: tuple[Bundle, list[str]]) -> None:
    bundle, path = unpacked
    code = """
import importlib.util, json, subprocess
from headrace_functions import script
ours = ("AWS_SECRET_ACCESS_KEY", "AWS_LAMBDA_RUNTIME_API", "_X_AMZN_TRACE_ID", "HEADRACE_TABLE", "LAMBDA_TASK_ROOT")
theirs = dict.fromkeys(ours, "ours") | {"PYTHONPATH": "/var/runtime"}
script.leave_to_people(theirs)
code = "from kestra import Kestra; Kestra.outputs({'answer': 42}); Kestra.counter('rows', 3)"
done = subprocess.run([sys.executable, "-S", "-W", "ignore", "-c", code], env=theirs, capture_output=True, text=True)
ours = [name for name in ("kestra", "requests") if importlib.util.find_spec(name)]
print(json.dumps([sorted(theirs), theirs["PYTHONPATH"].split(":"), ours, done.stdout, done.stderr]))
"""
    variables, search_path, ours, out, error = json.loads(in_bundle(path, code))
    settings = ["HOME", "PYTHONPATH", "UV_COMPILE_BYTECODE", "UV_LINK_MODE", "UV_NO_CACHE"]
    assert (variables, ours) == (settings, [])
    if bundle is Bundle.SCRIPT:
        assert search_path == ["/var/runtime", f"{path[0]}/{FOR_SCRIPTS}"]
        lines = [json.loads(line.strip(":")) for line in out.splitlines()]
        assert lines[0] == {"outputs": {"answer": 42}}, error
        assert (lines[1]["metrics"][0]["name"], lines[1]["metrics"][0]["value"]) == ("rows", 3)
    else:
        assert search_path == ["/var/runtime"]
        assert "No module named 'kestra'" in error


def test_each_function_is_given_the_bundle_it_needs(tmp_path: Path) -> None:
    wanted = {built(Target("3.13", "arm64"), bundle): bundle for bundle in Bundle}
    app = App(outdir=str(tmp_path))
    HeadraceStack(app, "headrace", HeadraceProps(bundle_cache=CACHE))
    app.synth()
    files = json.loads((tmp_path / "headrace.assets.json").read_text(encoding="utf-8"))["files"]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): bundle for path, bundle in wanted.items()}
    packed = {
        file["destinations"][place]["objectKey"]: digests[hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()]
        for file in files.values()
        if (path := file["source"]["path"]).endswith(".zip") and "Programs" not in file["displayName"]
        for place in file["destinations"]
    }
    template = json.loads((tmp_path / "headrace.template.json").read_text(encoding="utf-8"))
    functions = [
        each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"
    ]
    given = [
        (each["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"], packed[each["Code"]["S3Key"]])
        for each in functions
    ]
    assert sorted(given) == [
        ("api", Bundle.PLATFORM),
        ("executor", Bundle.PLATFORM),
        ("purger", Bundle.PLATFORM),
        ("script", Bundle.SCRIPT),
        ("script-large", Bundle.SCRIPT),
        ("script-medium", Bundle.SCRIPT),
        ("triggers", Bundle.PLATFORM),
        ("worker", Bundle.WORKER),
    ]


@pytest.mark.parametrize(("architecture", "processor_"), [("arm64", ARM), ("x86_64", INTEL)])
def test_the_programs_for_people_s_code_are_for_the_processor_and_fit_beside_the_function(
    architecture: str, processor_: int
) -> None:
    target = Target("3.13", architecture)
    layer = built(target, Bundle.PROGRAMS)
    assert layer.stat().st_size < LAYER_LIMIT
    with zipfile.ZipFile(layer) as archive, zipfile.ZipFile(built(Target("3.13", "arm64"), Bundle.SCRIPT)) as script:
        for name in ("bin/node", "bin/uv"):
            with archive.open(name) as file:
                assert processor(file.read(20)) == processor_, name
        executable = {entry.filename for entry in archive.infolist() if entry.external_attr >> 16 == 0o755}
        assert executable == {"bin/node", "bin/npm", "bin/npx", "bin/uv"}
        together = [*archive.infolist(), *script.infolist()]
        assert sum(entry.file_size for entry in together) < UNPACKED_LIMIT


def test_the_programs_for_people_s_code_run(tmp_path: Path) -> None:
    subprocess.run(["unzip", "-q", built(HERE, Bundle.PROGRAMS), "-d", tmp_path], check=True)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    def said(*command: str) -> str:
        found = shutil.which(command[0], path=environment["PATH"])
        assert found == f"{tmp_path}/bin/{command[0]}"
        done = subprocess.run([found, *command[1:]], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert said("node", "-p", "process.version + process.arch").startswith("v24.")
    assert said("npm", "--version").count(".") == 2
    assert said("npx", "--version") == said("npm", "--version")
    assert said("uv", "--version").startswith("uv ")


def test_a_bundle_is_made_again_only_when_something_changed() -> None:
    bundler = Bundler(Target("3.13", "arm64"), CACHE)
    path = built(Target("3.13", "arm64"), Bundle.PLATFORM)
    made = path.stat().st_mtime_ns
    assert bundler.build(Bundle.PLATFORM) == path
    assert path.stat().st_mtime_ns == made


def test_the_worker_has_what_the_platform_has_and_more() -> None:
    bundler = Bundler(Target("3.13", "arm64"), CACHE, plugins=["our-tasks>=2"])
    platform_, worker = (set(bundler.requirements(bundle)) for bundle in (Bundle.PLATFORM, Bundle.WORKER))
    assert platform_ < worker
    assert "our-tasks>=2" in platform_
    assert not [each for each in worker if each.startswith(("boto3", "click", "rich", "headrace"))]


def test_a_library_that_there_is_not_is_told(tmp_path: Path) -> None:
    bundler = Bundler(Target("3.13", "arm64"), tmp_path, plugins=["headrace-has-no-such-library==0"])
    built(Target("3.13", "arm64"), Bundle.PLATFORM)  # skips where the package index cannot be reached
    with pytest.raises(BundleError, match=r"(?s)The libraries for arm64-3.13 cannot be had:.*headrace-has-no-such"):
        bundler.build(Bundle.PLATFORM)
    assert not list(tmp_path.iterdir()), "nothing half made is left"
