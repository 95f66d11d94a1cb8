"""What is written about files is true: they load, run, exist, and name nothing local."""

import ast
import re
import tomllib
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import pytest
import yaml

from tests.architecture.source import PACKAGE, ROOT, dotted, files, modules

_DOCUMENTS = (
    "README.md", "DECISIONS.md", "CONTRIBUTING.md", "CHANGELOG.md", "ros_ws/README.md",
    *sorted(path for path in files() if path.startswith("doc/") and path.endswith(".md")),
)  # fmt: skip
_BINARY = (".safetensors", ".png", ".jpg", ".stl", ".mp4", ".npz", ".mcap", ".parquet", ".onnx")


@pytest.mark.parametrize("path", [p for p in files() if p.endswith((".yaml", ".yml"))])
def test_every_yaml_file_loads(path: str):
    assert list(yaml.safe_load_all((ROOT / path).read_text("utf-8")))


@pytest.mark.parametrize("path", [p for p in files() if p.endswith(".xml")])
def test_every_xml_file_loads(path: str):
    ElementTree.parse(ROOT / path)


# --------------------------------------------------------------------------- tests are collected


def _test_functions(node: ast.Module | ast.ClassDef) -> list[str]:
    return [
        child.name
        for child in node.body
        if isinstance(child, ast.FunctionDef) and child.name.startswith("test_")
    ]


def test_every_test_is_in_a_file_that_pytest_collects():
    wrong = [
        module.path
        for module in modules("tests")
        if _test_functions(module.tree) and not PurePosixPath(module.path).name.startswith("test_")
    ]
    assert not wrong, f"pytest collects only test_*.py: {wrong}"


def test_every_test_is_in_a_class_that_pytest_collects():
    classes = [
        (module.path, node)
        for module in modules("tests")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    inherited = {dotted(base).split(".")[-1] for _, node in classes for base in node.bases}
    wrong = [
        f"{path}:{node.lineno}: {node.name}"
        for path, node in classes
        if _test_functions(node)
        and not node.name.startswith("Test")
        and node.name not in inherited  # a suite that a Test class takes over
    ]
    assert not wrong, "pytest collects only classes called Test...:\n" + "\n".join(wrong)


# ----------------------------------------------------------------------------- named paths exist


def _named_paths(text: str) -> set[str]:
    """Return what looks like a path of the checkout in backticks or as the target of a link."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    quoted = re.findall(r"`([^`\n]+)`", text)
    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    tops = {path.split("/")[0] for path in files()}
    packages = {Path(m.path).parts[1] for m in modules()}
    ignored = re.findall(r"^([\w./-]+)/$", (ROOT / ".gitignore").read_text("utf-8"), re.MULTILINE)
    named = set()
    for word in (*quoted, *linked):
        path = word.split("::")[0].rstrip("/")
        if not re.fullmatch(r"[\w.][\w./-]*", path) or path.startswith(("..", *ignored)):
            continue
        first, *rest = path.split("/")
        is_code = path.endswith((".py", ".sh", ".md", ".toml", ".cfg"))
        is_inside = bool(rest) and (first in tops or (first in packages and "." in rest[-1]))
        if is_code or is_inside:
            named.add(path)
    return named


def _exists(path: str, document: str) -> bool:
    places = (ROOT, ROOT / PACKAGE, (ROOT / document).parent)
    return any((place / path).exists() for place in places) or any(
        known.endswith(f"/{path}") for known in files()
    )


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_every_path_named_in_a_document_exists(document: str):
    named = _named_paths((ROOT / document).read_text("utf-8"))
    missing = sorted(path for path in named if not _exists(path, document))
    assert not missing, f"{document} names what does not exist: {missing}"


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_every_make_target_named_in_a_document_exists(document: str):
    text = (ROOT / document).read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, re.MULTILINE))
    assert named <= targets, f"{document} names no target of the Makefile: {named - targets}"


def test_a_path_that_does_not_exist_is_seen():
    named = _named_paths("see `robot_agent/act/nowhere.py`, `nowhere.py` and [it](tests/nowhere)")
    assert named == {"robot_agent/act/nowhere.py", "nowhere.py", "tests/nowhere"}
    assert not any(_exists(path, "README.md") for path in named)


def test_topics_and_commands_are_not_taken_for_paths():
    assert not _named_paths("`guard/stop`, `camera/color/image_raw`, `make demo`, `a.b=c`, `1/2`")


# ------------------------------------------------------------------------------ nothing is local


def _local_words() -> re.Pattern[str]:
    # Put together here, so that this file does not contain what it looks for.
    hosts = [
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("anaconda", "org"),
        ("download", "pytorch", "org"), ("crates", "io"), ("proxy", "golang", "org"),
    ]  # fmt: skip
    folders = "|".join(("work", "root", r"home/\w+", r"Users/\w+", r"mnt/\w+"))
    return re.compile(
        rf"(?<![\w.$}}~-])/(?:{folders})(?:/|\b(?!\w))"
        + "|"
        + "|".join(r"\.".join(h) for h in hosts)
    )


def test_no_file_names_a_registry_or_a_folder_of_one_machine():
    pattern = _local_words()
    found = []
    for path in files():
        if path.endswith(_BINARY):
            continue
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path}:{number}: {match.group()}")
    assert not found, "\n".join(found)


def test_a_local_folder_is_seen_and_a_relative_one_is_not():
    pattern = _local_words()
    for folder in ("work", "root", "home/me"):
        assert pattern.search(f"open('/{folder}/x')")
    assert not pattern.search("../shared/facts and tests/work/x and {root}/root/x")
    assert pattern.search("https://" + ".".join(("pypi", "org")))


# ------------------------------------------------------------------------------------- packaging


def test_every_package_folder_is_a_package():
    folders = {Path(m.path).parent for m in modules()}
    missing = [str(f) for f in sorted(folders) if not (ROOT / f / "__init__.py").is_file()]
    assert not missing, f"setup.py installs only folders with an __init__.py: {missing}"


def test_every_interface_file_is_built():
    for package in sorted((ROOT / "ros_ws/src").iterdir()):
        listed = set(
            re.findall(r'"(\w+/\w+\.\w+)"', (package / "CMakeLists.txt").read_text("utf-8"))
        )
        there = {
            str(path.relative_to(package))
            for kind in ("msg", "srv", "action")
            for path in package.glob(f"{kind}/*.{kind}")
        }
        assert listed == there, f"{package.name}: listed and present differ: {listed ^ there}"


def test_every_requirement_is_pinned_or_comes_with_one_that_is():
    text = (ROOT / "requirements/constraints.txt").read_text("utf-8").lower().replace("_", "-")
    pinned = set(re.findall(r"^([\w-]+)==", text, re.MULTILINE))
    wanted = (ROOT / "requirements/runtime.txt").read_text("utf-8").split("\n")
    names = {name for name in wanted if name and not name.startswith("#")}
    assert names <= pinned, f"no version in constraints.txt: {names - pinned}"


def test_the_tool_file_is_valid():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tools["mypy"]["strict"] is True
    assert tools["ruff"]["line-length"] == 99
