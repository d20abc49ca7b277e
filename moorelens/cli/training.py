"""`train`: a recurrent policy for an environment, in a folder that the same command continues."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from moorelens.cli.config import TrainOptions
from moorelens.cli.parsing import parse
from moorelens.cli.printing import open_progress, plain, print_json
from moorelens.errors import OptionError
from moorelens.policies.training.config import ImitationSettings, TrainConfig, defaults_for
from moorelens.reports.format import count, number

if TYPE_CHECKING:
    from moorelens.pipelines.train import TrainOutcome

S = TypeVar("S", bound=msgspec.Struct)


def train(arguments: list[str]) -> int:
    """Run `moorelens train`."""
    options, output = parse(TrainOptions, arguments, verb="train", description="Train a recurrent policy.")
    config = train_config(options)
    from moorelens.pipelines.train import run_train

    with open_progress(quiet=output.quiet) as progress:
        outcome = run_train(
            config, out=None if options.out is None else Path(options.out), force=options.force, progress=progress
        )
    if not outcome.finished:
        print(f"stopped by --max-minutes after {outcome.steps} steps; the same command goes on", file=sys.stderr)
    if output.json:
        print_json(b"null" if outcome.card is None else msgspec.json.encode(outcome.card))
    else:
        print(_text(outcome))
    return 0


def train_config(options: TrainOptions) -> TrainConfig:
    """Return the training that the options describe.

    Raises: OptionError for values or PPO settings that do not exist.
    """
    settings = ("ppo", "imitation")
    plain_fields = [name for name in TrainConfig.__struct_fields__ if name not in settings]
    return TrainConfig(
        **{name: getattr(options, name) for name in plain_fields},
        ppo=_settings("ppo", defaults_for(options.env, started=options.start is not None).ppo, options.ppo),
        imitation=_settings("imitation", ImitationSettings(), options.imitation),
    )


def _settings(option: str, usual: S, given: dict[str, Any]) -> S | None:
    """Return the usual settings with what is given in their place, or None where nothing is."""
    if not given:
        return None
    try:
        return msgspec.convert({**msgspec.to_builtins(usual), **given}, type=type(usual))
    except msgspec.ValidationError as error:
        names = ", ".join(type(usual).__struct_fields__)
        raise OptionError(
            f"--{option} must be a JSON object of settings ({names}), and this one is not: {error}."
        ) from error


def _text(outcome: TrainOutcome) -> str:
    if outcome.card is None:
        return str(outcome.folder)
    score = outcome.card.held_out.score
    words = f"{number(score.mean)} on {score.n} held-out games after {count(outcome.steps)} steps"
    return "\n".join([plain(words), str(outcome.policy), f"explain it with: moorelens explain {outcome.policy}"])
