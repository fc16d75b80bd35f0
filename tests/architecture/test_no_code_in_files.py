"""No file that lagvae reads can run code: what could is not called anywhere in the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lagvae

PACKAGE = Path(lagvae.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "imp", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "torch.jit.load", "np.loadtxt"}
CALLS |= {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "pandas.read_pickle", "np.fromregex"}
EXTRACTIONS = {"extract", "extractall", "unpack_archive"}


def find_dangers(source: str) -> list[str]:
    """Returns every import and call in ``source`` that could run what a file holds, or write where it says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            arguments = [ast.unparse(argument) for argument in node.args]
            if name in CALLS or name.split(".")[-1] in EXTRACTIONS:
                found.append(name)
            if (
                name.split(".")[-1] == "load"
                and name.startswith(("np.", "numpy."))
                and given.get("allow_pickle") != "False"
            ):
                found.append(f"{name} without allow_pickle=False")
            if name == "yaml.load" and not {"_Loader", "yaml.SafeLoader"} & {*arguments, *given.values()}:
                found.append("yaml.load without a safe loader")
            if given.get("shell", "False") != "False":
                found.append(f"{name} by a shell")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_runs_no_file(path: Path) -> None:
    assert find_dangers(path.read_text()) == []


def test_the_loader_of_configurations_is_a_safe_one() -> None:
    import yaml

    from lagvae.storage.folder import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
    tags = {tag for tag in _Loader.yaml_constructors if tag is not None and "python" in str(tag)}
    assert tags == set()
    assert _Loader.yaml_multi_constructors == yaml.SafeLoader.yaml_multi_constructors == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "tarfile.open(path).extractall(folder)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert len(find_dangers(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "np.load(path, allow_pickle=False)",
        "yaml.load(text, _Loader)",
        "yaml.safe_load(text)",
        "json.load(file)",
        "safetensors.torch.load(content)",
        "model.eval()",
        "re.compile(text)",
        "subprocess.run(command)",
    ],
)
def test_what_is_harmless_is_let_be(source: str) -> None:
    assert find_dangers(source) == []
