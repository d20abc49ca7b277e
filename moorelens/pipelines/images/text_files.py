"""Text files that an option names."""

from __future__ import annotations

from pathlib import Path

from moorelens.errors import OptionError

MAX_BYTES = 1 << 26


def read_text(path: Path, *, what: str) -> str:
    """Return the text in a file; `what` begins the sentence of the `OptionError` where it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            reason = f"it has more than {MAX_BYTES:,} bytes"
        elif not path.is_file():
            reason = "it is a folder" if path.is_dir() else "it is no file"
        else:
            return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        reason = "it is no text in UTF-8"
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    raise OptionError(f"{what}, and {path} cannot be read ({reason}): check how it is written, or give another one.")
