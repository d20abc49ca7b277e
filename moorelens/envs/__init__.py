"""Environments: what they are called, how they are built, and seeded episodes of them."""

from moorelens._lazy import attach

_EXPORTS: dict[str, str] = {
    "EnvironmentRequest": "moorelens.envs.config",
    "EnvironmentSpec": "moorelens.envs.config",
    "EpisodeBatch": "moorelens.envs.episodes",
    "Player": "moorelens.envs.playing",
    "RecordingPlayer": "moorelens.envs.playing",
    "Rollouts": "moorelens.envs.rollouts",
    "Step": "moorelens.envs.episodes",
    "describe": "moorelens.envs.description",
    "open_episodes": "moorelens.envs.episodes",
    "play": "moorelens.envs.playing",
    "register_memory_tasks": "moorelens.envs.memory.registration",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
