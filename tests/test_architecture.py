"""The arrows between packages, read from the source: who may import whom, and what is never imported at all."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "moorelens"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))

# What each layer may import, itself aside. `differential` is the one part of saliency that knows machines.
GROUND = {"errors", "stats", "graphviz", "text", "runs", "_lazy", "_layout"}
MAY = {
    "ground": set(),
    "envs": {"ground"},
    "policies": {"ground", "envs"},
    "fsm": {"ground", "envs", "policies"},
    "saliency": {"ground", "envs", "policies"},
    "differential": {"ground", "envs", "policies", "fsm", "saliency"},
    "reports": {"ground", "envs", "policies", "fsm", "saliency", "differential"},
    "pipelines": {"ground", "envs", "policies", "fsm", "saliency", "differential", "reports"},
    "cli": {"ground", "envs", "policies", "fsm", "saliency", "differential", "reports", "pipelines"},
    "testing": {"ground", "envs", "policies", "fsm", "saliency"},
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str:
    parts = module.split(".")[1:]
    if not parts or parts[0] in GROUND or parts[0] == "__main__":
        return "cli" if parts[:1] == ["__main__"] else "ground"
    return "differential" if parts[:2] == ["saliency", "differential"] else parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` names in an import, also inside functions; `from a import b` counts as `a` and `a.b`."""
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            source = f"{base}{node.module or ''}".rstrip(".")
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def own(path: Path) -> Iterator[str]:
    """The modules of MooreLens among the imports of `path`, without names inside them."""
    known = {module_name(module) for module in MODULES}
    return (name for name in imports(path) if name in known and name != "moorelens")


def exports(package: Path) -> dict[str, str]:
    for node in parsed(package / "__init__.py").body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == "_EXPORTS" and isinstance(node, ast.AnnAssign | ast.Assign):
            assert node.value is not None
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    raise AssertionError(f"{package} has no _EXPORTS")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_package_imports_only_what_lies_to_its_right(path: Path) -> None:
    mine = layer(module_name(path))
    wrong = sorted({name for name in own(path) if layer(name) != mine and layer(name) not in MAY[mine]})
    assert not wrong, f"{module_name(path)} ({mine}) imports {wrong}"


def test_lazy_names_follow_the_arrows_too() -> None:
    """A name that a package serves lazily comes from itself or from its right; the root serves everything."""
    for package in PACKAGES:
        mine = layer(module_name(package / "__init__.py"))
        if package == PACKAGE:
            continue
        for name, module in exports(package).items():
            assert layer(module) == mine or layer(module) in MAY[mine], f"{package.name} serves {name} from {module}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: module_name(path / "__init__.py"))
def test_a_package_imports_nothing_itself(package: Path) -> None:
    names = {name for name in imports(package / "__init__.py") if not name.startswith("__future__")}
    assert names == {"moorelens._lazy", "moorelens._lazy.attach"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: module_name(path / "__init__.py"))
def test_the_names_a_package_lists_are_the_names_it_has(package: Path) -> None:
    module = importlib.import_module(module_name(package / "__init__.py"))
    names = exports(package)
    assert module.__all__ == sorted(names)
    assert dir(module) == sorted(names)
    for name in names:
        assert getattr(module, name) is getattr(importlib.import_module(names[name]), name)
    with pytest.raises(AttributeError, match="no attribute 'surely_not'"):
        module.surely_not  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_what_is_imported_nowhere_or_in_one_place(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & {"torchvision", "torchaudio", "dill", "cloudpickle"}
    if "ale_py" in tops:
        assert path.parent.name == "envs", "ale-py (GPL-2.0-only) stays inside the Atari adapter"
    if "pygraphviz" in tops:
        assert path.name == "_layout.py", "a layout in this process cannot be stopped"
    if path.is_relative_to(PACKAGE / "fsm" / "automata"):
        assert not tops & {"torch", "gymnasium"}


def test_at_most_two_modules_know_the_emulator() -> None:
    assert sum("ale_py" in {name.split(".")[0] for name in imports(path)} for path in MODULES) <= 2


def test_nothing_imports_the_conformance_suites() -> None:
    users = [path for path in MODULES if any(layer(name) == "testing" for name in own(path))]
    assert all(path.is_relative_to(PACKAGE / "testing") for path in users)


LIGHT = [
    *(module_name(path) for path in MODULES if path.name == "config.py"),
    *(module_name(path) for path in MODULES if path.is_relative_to(PACKAGE / "fsm" / "automata")),
    *(module_name(path) for path in MODULES if layer(module_name(path)) == "ground"),
    *(module_name(path / "__init__.py") for path in PACKAGES),
]


def test_configs_machines_and_the_ground_floor_load_neither_torch_nor_gymnasium() -> None:
    """One fresh process imports them one after the other and says after which one a heavy library was there."""
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'gymnasium', 'stable_baselines3', 'sklearn', 'pygraphviz'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} loads {sorted(heavy)}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *LIGHT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_draws_from_global_random_state(path: Path) -> None:
    calls = {ast.unparse(node.func) for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)}
    numpy_global = {call for call in calls if call.startswith("np.random.") and not _is_generator(call)}
    assert not numpy_global
    assert "random" not in {name.split(".")[0] for name in imports(path)}


def _is_generator(call: str) -> bool:
    # `get_state` and `set_state` are how foreign training code is given a random state of its own.
    own_state = {"default_rng", "Generator", "PCG64", "Philox", "SeedSequence", "get_state", "set_state"}
    return re.split(r"[.(]", call.removeprefix("np.random."))[0] in own_state


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_nothing_is_pickled_and_nothing_is_unpickled(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.Call):
            continue
        call, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert call not in {"pickle.load", "pickle.loads", "pickle.dump", "pickle.dumps", "torch.save"}
        assert call != "torch.load" or options.get("weights_only") == "True"
        assert call != "np.load" or options.get("allow_pickle") == "False"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_open_with_what_they_are_and_stay_readable(path: Path) -> None:
    assert ast.get_docstring(parsed(path)), "the first line says what the module is"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_paper_that_is_cited_by_key_is_listed_once() -> None:
    cited = {
        key
        for path in [*MODULES, *(ROOT / "docs").glob("*.md")]
        for key in re.findall(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b", path.read_text(encoding="utf-8"))
    }
    listed = re.findall(r"^@\w+\{(\w+),", (ROOT / "docs/references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == sorted(set(listed))
    assert cited <= set(listed), f"not in docs/references.bib: {sorted(cited - set(listed))}"
