"""What every page has around its content: style, script, and the policy that admits these two and nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

# Run before anything is painted: what only a script can serve stays hidden without one.
_EARLY = 'document.documentElement.classList.add("js")'


def shell(*styles: str, script: str | None = None) -> dict[str, str]:
    """Return `style`, `early`, `script` and `policy` of a page, the middle two empty for one without a script.

    `styles`: style sheets among the assets that follow the one of all pages; `policy`: the Content-Security-Policy.
    """
    assets = resources.files("moorelens.reports") / "assets"
    style = "".join((assets / name).read_text("utf-8") for name in ("report.css", *styles))
    code = "" if script is None else (assets / script).read_text("utf-8")
    allowed = "" if script is None else f"script-src '{_hash(_EARLY)}' '{_hash(code)}'; "
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; {allowed}base-uri 'none'; form-action 'none'"
    )
    return {"style": style, "early": "" if script is None else _EARLY, "script": code, "policy": policy}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
