"""Nothing loads code from data, and nothing hands a string to a shell."""

import ast

from tests.architecture.source import ROOT, Module, dotted, files, imported_names, modules

_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_CALLS = {
    "eval", "exec", "torch.load", "torch.save", "yaml.load", "yaml.load_all", "yaml.full_load",
    "yaml.unsafe_load", "os.system", "os.popen",
}  # fmt: skip
_KEYWORDS = {"allow_pickle", "shell", "trust_remote_code"}


def _forbidden(module: Module) -> list[str]:
    found = [
        (line, f"imports {name}")
        for line, name in imported_names(module.tree)
        if name.split(".")[0] in _MODULES or name in _CALLS
    ]
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        if dotted(node.func) in _CALLS:
            found.append((node.lineno, f"calls {dotted(node.func)}"))
        found += [
            (node.lineno, f"passes {keyword.arg}")
            for keyword in node.keywords
            if keyword.arg in _KEYWORDS and not _is_false(keyword.value)
        ]
    return [f"{module.path}:{line}: {what}" for line, what in found]


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_nothing_loads_code_from_data():
    shipped = [*modules(), *modules("launch", "calibration")]
    found = [line for module in shipped for line in _forbidden(module)]
    assert not found, "\n".join(found)


def test_each_forbidden_word_is_seen():
    for text in (
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "torch.load(p)",
        "torch.save(m, p)",
        "eval('1')",
        "exec('1')",
        "yaml.load(t, L)",
        "np.load(p, allow_pickle=True)",
        "run(c, shell=True)",
        "AutoModel.from_pretrained(p, trust_remote_code=flag)",
    ):
        assert _forbidden(Module("robot_agent/x.py", text, ast.parse(text))), text


def test_putting_a_network_into_evaluation_is_allowed():
    text = "model.eval()\nnp.load(p, allow_pickle=False)"
    assert not _forbidden(Module("robot_agent/x.py", text, ast.parse(text)))


def test_no_weights_in_a_format_that_runs_code():
    endings = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".npy")
    found = [path for path in files() if path.endswith(endings)]
    assert not found, f"weights are safetensors only: {found}"
    assert (ROOT / "LICENSE").is_file()
