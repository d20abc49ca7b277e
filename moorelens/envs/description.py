"""From a request to the facts of the environment that it builds."""

from __future__ import annotations

from moorelens.envs.config import EnvironmentRequest, EnvironmentSpec


def describe(request: EnvironmentRequest) -> EnvironmentSpec:
    """Build the environment once and say what it offers; raises `EnvironmentRequestError` where it cannot be used."""
    if request.is_atari:
        from moorelens.envs import atari

        return atari.specify(request)
    from moorelens.envs import control

    env = control.build(request)
    try:
        return control.specify(request, env)
    finally:
        env.close()
