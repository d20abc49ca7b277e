"""`doctor`: what is installed here, what works, and what an absent part costs; it never fails for want of a part."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from moorelens import graphviz
from moorelens.cli.config import NothingConfig
from moorelens.cli.parsing import parse
from moorelens.cli.printing import print_json
from moorelens.runs.manifest import PACKAGES, installed_versions

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_EXTRAS = {
    "python-sat": "sat",
    "aalpy": "learn",
    "vector-quantize-pytorch": "fsq",
    "tensorboard": "tb",
    "captum": "captum",
    "pyarrow": "data",
    "playwright": "e2e",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at: `ok`, what was found, and what its absence costs."""

    name: str
    ok: bool
    found: str


def doctor(arguments: list[str]) -> int:
    """Run `moorelens doctor`."""
    _, output = parse(NothingConfig, arguments, verb="doctor", description="Say what is installed and what works.")
    findings = examine()
    if output.json:
        print_json(msgspec.json.encode(findings))
        return 0
    for finding in findings:
        head = f"{'ok' if finding.ok else '--':3}{finding.name:<10}"
        print(textwrap.fill(finding.found, 80, initial_indent=head, subsequent_indent=" " * len(head)))
    return 0


def examine() -> list[Finding]:
    """Look at everything; whatever goes wrong on the way is a finding."""
    parts: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("python", lambda: (True, f"{platform.python_version()} at {sys.executable}, {platform.platform()}")),
        ("packages", _packages),
        ("torch", _torch),
        ("graphviz", _graphviz),
        ("pdf", _pdf),
        ("fonts", _fonts),
        ("atari", _roms),
        ("chromium", _chromium),
        ("extras", _extras),
        ("disk", _disk),
    ]
    return [_finding(name, look) for name, look in parts]


def _finding(name: str, look: Callable[[], tuple[bool, str]]) -> Finding:
    try:
        ok, found = look()
    except Exception as error:
        ok, found = False, f"does not work here ({type(error).__name__}: {' '.join(str(error).split())})"
    return Finding(name=name, ok=ok, found=found)


def _packages() -> tuple[bool, str]:
    versions = installed_versions()
    missing = [name for name in PACKAGES if name not in versions]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "python")
    return not missing, listed + (
        f"; missing: {', '.join(missing)} (`pip install moorelens` brings them)" if missing else ""
    )


def _torch() -> tuple[bool, str]:
    import torch

    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return True, f"{torch.__version__}, {build}, {device}, {torch.get_num_threads()} threads"


def _graphviz() -> tuple[bool, str]:
    routes = graphviz.routes()
    if not routes:
        return False, "none: machines are saved as DOT but not drawn (`pip install pygraphviz`)"
    graphviz.render('digraph { a [label="a"] }', timeout_s=20.0)
    return True, "draws with " + ", else ".join(f"{r.kind} {r.version or r.path}" for r in routes)


def _pdf() -> tuple[bool, str]:
    if importlib.util.find_spec("typst") is None:
        return False, "no typst: no report.pdf, the HTML report is complete (`pip install typst`)"
    import typst

    data = typst.compile(b"= Test", ignore_system_fonts=True)
    return bytes(data[:4]) == b"%PDF", f"typst {_version('typst')} writes PDF"


def _fonts() -> tuple[bool, str]:
    import typst

    return True, f"in reports: {', '.join(typst.Fonts(include_system_fonts=False).families())}"


def _roms() -> tuple[bool, str]:
    spec = importlib.util.find_spec("ale_py")
    if spec is None or not spec.submodule_search_locations:
        return False, "no ale-py: no Atari games (`pip install ale-py`)"
    roms = sorted(Path(spec.submodule_search_locations[0], "roms").glob("*.bin"))
    return bool(roms), f"ale-py {_version('ale-py')} with {len(roms)} games"


def _chromium() -> tuple[bool, str]:
    path = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    return path is not None, path or "none: only the tests that look at reports in a browser are skipped"


def _extras() -> tuple[bool, str]:
    versions = installed_versions(tuple(_EXTRAS))
    parts = [
        f"{name} {versions[name]}" if name in versions else f"no {name} (moorelens[{extra}])"
        for name, extra in _EXTRAS.items()
    ]
    return True, ", ".join(parts)


def _disk() -> tuple[bool, str]:
    free = shutil.disk_usage(os.getcwd()).free / 2**30
    return free > 1.0, f"{free:.1f} GiB free in {os.getcwd()}"


def _version(package: str) -> str:
    versions: dict[str, Any] = installed_versions((package,))
    return str(versions.get(package, "?"))
