"""The verbs of the command line: what each is for, and where its code is, imported only when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Verb(NamedTuple):
    """A verb: its purpose in one line, its usual arguments, and `module:function` taking the remaining arguments."""

    purpose: str
    arguments: str
    target: str

    def load(self) -> Callable[[list[str]], int]:
        """Import the verb's function; it returns the exit code."""
        module, _, function = self.target.partition(":")
        loaded: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
        return loaded


VERBS: dict[str, Verb] = {
    "demo": Verb("the whole job on a bundled policy", "", "moorelens.cli.jobs:demo"),
    "explain": Verb("policy to machine, fidelity, decisions, report", "POLICY", "moorelens.cli.jobs:explain"),
    "extract": Verb("policy to machines and their drawings, no report", "POLICY", "moorelens.cli.jobs:extract"),
    "compare": Verb("quantisers of a policy side by side", "POLICY", "moorelens.cli.comparing:compare"),
    "draw": Verb("a machine as SVG, PDF, PNG or DOT", "MACHINE.json", "moorelens.cli.drawing:draw"),
    "reduce": Verb("a machine made smaller without loss", "MACHINE.json", "moorelens.cli.machines:reduce"),
    "fold": Verb("a machine folded into fewer states", "MACHINE.json", "moorelens.cli.machines:fold"),
    "minimize": Verb("the smallest machine with the same words", "MACHINE.json", "moorelens.cli.machines:minimize"),
    "export": Verb("a machine for other tools", "MACHINE.json", "moorelens.cli.exporting:export"),
    "diff": Verb("where two machines differ", "MACHINE.json MACHINE.json", "moorelens.cli.machines:diff"),
    "evaluate": Verb("a run's machine disturbed, and its rivals", "RUN", "moorelens.cli.runs:evaluate"),
    "saliency": Verb("what one decision of a run looked at", "RUN", "moorelens.cli.saliency:saliency"),
    "prune": Verb("a run's machine without idle decisions", "RUN", "moorelens.cli.runs:prune"),
    "check": Verb("a property of what a run recorded", "RUN PROPERTY", "moorelens.cli.runs:check"),
    "verify": Verb("every number of a run computed again", "RUN", "moorelens.cli.runs:verify"),
    "report": Verb("a run's report again, or two runs compared", "RUN [RUN]", "moorelens.cli.reporting:report"),
    "train": Verb("a recurrent policy for an environment", "ENV", "moorelens.cli.training:train"),
    "reproduce": Verb("a published table made again", "mce|tomita|control|atari", "moorelens.cli.reproduce:reproduce"),
    "image": Verb("what a classifier of images looks at", "METHOD", "moorelens.cli.image:image"),
    "zoo": Verb("the bundled policies", "list | show NAME", "moorelens.cli.zoo:zoo"),
    "doctor": Verb("what is installed, and what is missing", "", "moorelens.cli.doctor:doctor"),
}


def overview() -> str:
    """Return the page of `moorelens --help`."""
    return "\n".join(
        [
            "usage: moorelens VERB [ARGUMENTS] [OPTIONS]",
            "",
            "Turns a recurrent policy into a finite-state machine that a person can read.",
            "",
            *listing(VERBS),
            "",
            "POLICY is zoo:NAME, sb3:FILE.zip, mmn:FILE, python:pkg.mod:factory or",
            "FILE.safetensors; RUN is the folder of a finished explain, demo or extract.",
            "Options of a verb: moorelens VERB --help. Version: moorelens --version.",
        ]
    )


def listing(verbs: Mapping[str, Verb]) -> list[str]:
    """Return a line for each of `verbs`: its name, its usual arguments and what it is for."""
    heads = {name: f"{name} {verb.arguments}".rstrip() for name, verb in verbs.items()}
    width = max(len(head) for head in heads.values()) + 2
    return [f"  {heads[name]:<{width}}{verb.purpose}" for name, verb in verbs.items()]
