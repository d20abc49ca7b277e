"""Tasks whose best player is a small machine that is known: mode counters, languages, and a few classics."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "Language": "moorelens.envs.memory.languages",
    "LanguageEnv": "moorelens.envs.memory.reading",
    "MEMORY_TASKS": "moorelens.envs.memory.registration",
    "ModeCounterEnv": "moorelens.envs.memory.modes",
    "RepeatPreviousEnv": "moorelens.envs.memory.corridors",
    "TMazeEnv": "moorelens.envs.memory.corridors",
    "TomitaEnv": "moorelens.envs.memory.reading",
    "labels_of": "moorelens.envs.memory.languages",
    "mode_language": "moorelens.envs.memory.modes",
    "register_memory_tasks": "moorelens.envs.memory.registration",
    "tomita": "moorelens.envs.memory.languages",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
