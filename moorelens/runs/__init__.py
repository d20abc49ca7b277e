"""Run folders: atomic files, a manifest, stages that resume, progress and executors; knows no domain."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Checkpoint": "moorelens.runs.checkpoints",
    "Executor": "moorelens.runs.executor",
    "Header": "moorelens.runs.manifest",
    "Manifest": "moorelens.runs.manifest",
    "NullProgress": "moorelens.runs.progress",
    "PlainProgress": "moorelens.runs.progress",
    "Progress": "moorelens.runs.progress",
    "RichProgress": "moorelens.runs.progress",
    "RunOutcome": "moorelens.runs.stages",
    "Stage": "moorelens.runs.stages",
    "StageContext": "moorelens.runs.stages",
    "TaskProgress": "moorelens.runs.progress",
    "add_stages": "moorelens.runs.stages",
    "decode_arrays": "moorelens.runs.arrays",
    "digest": "moorelens.runs.hashing",
    "encode_arrays": "moorelens.runs.arrays",
    "make_header": "moorelens.runs.manifest",
    "open_executor": "moorelens.runs.executor",
    "run_stages": "moorelens.runs.stages",
    "write_atomic": "moorelens.runs.atomic",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
