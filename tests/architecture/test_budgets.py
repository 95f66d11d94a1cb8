"""Small pieces: lines of a module, a function, a constructor; bytes of a file.

Complexity and the number of arguments are ruff's: see pyproject.toml.
"""

import ast

from tests.architecture.source import ROOT, files, modules, unexcused

MODULE_LINES = 300
FUNCTION_LINES = 40
CONSTRUCTOR_LINES = 25
FILE_BYTES = 500_000
ASSETS = "robot_agent/assets/"
ASSETS_BYTES = 25_000_000


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from `def` to its end, without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def test_a_module_fits_its_budget():
    found = {
        module.path: f"{lines} lines, limit {MODULE_LINES}"
        for module in modules()
        if (lines := module.text.count("\n")) > MODULE_LINES
    }
    wrong = unexcused("module_lines", found)
    assert not wrong, "\n".join(wrong)


def test_a_function_fits_its_budget():
    found = {
        f"{module.path}:{name}": f"{lines} lines, limit {FUNCTION_LINES}"
        for module in modules()
        for name, function in module.functions()
        if (lines := _lines(function)) > FUNCTION_LINES
    }
    wrong = unexcused("function_lines", found)
    assert not wrong, "\n".join(wrong)


def test_a_constructor_fits_its_budget():
    found = {
        f"{module.path}:{name}": f"{lines} lines, limit {CONSTRUCTOR_LINES}"
        for module in modules()
        for name, function in module.functions()
        if function.name == "__init__" and (lines := _lines(function)) > CONSTRUCTOR_LINES
    }
    wrong = unexcused("constructor_lines", found)
    assert not wrong, "\n".join(wrong)


def test_no_file_is_large():
    found = {
        path: f"{size} bytes, limit {FILE_BYTES}"
        for path in files()
        if not (path.startswith(ASSETS) and path.endswith(".safetensors"))
        and (size := (ROOT / path).stat().st_size) > FILE_BYTES
    }
    wrong = unexcused("large_files", found)
    assert not wrong, "\n".join(wrong)


def test_the_assets_fit_their_budget():
    size = sum((ROOT / path).stat().st_size for path in files() if path.startswith(ASSETS))
    assert size < ASSETS_BYTES, f"{ASSETS}: {size} bytes, limit {ASSETS_BYTES}"


def test_a_docstring_does_not_count():
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _lines(function) == 2
