"""Options that no command can use are refused in one sentence, by the names that were typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorelens.cli.verbs import VERBS
from moorelens.pipelines.images.config import METHODS, check_settings, settings_of
from tests.cli.support import refused, run

ARGUMENTS = {
    "explain": ["zoo:cartpole"],
    "extract": ["zoo:cartpole"],
    "compare": ["zoo:cartpole"],
    "draw": ["machine.json"],
    "reduce": ["machine.json"],
    "fold": ["machine.json"],
    "minimize": ["machine.json"],
    "export": ["machine.json"],
    "diff": ["a.json", "b.json"],
    "report": ["run"],
    "train": ["CartPole-v1"],
    "reproduce": ["control"],
    "image": ["ig"],
    "demo": [],
}
WITHOUT_OUT = {"evaluate", "saliency", "prune", "check", "verify", "zoo", "doctor"}


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize("verb", ARGUMENTS)
def test_an_empty_out_is_refused(
    verb: str, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for option in (["--out", name], [f"--out={name}"]):
        sentence = refused(run(capsys, verb, *ARGUMENTS[verb], *option))
        assert "--out" in sentence and "empty" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["sag", "count", "crosstest"])
def test_an_empty_out_of_other_image_methods_is_refused(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "empty" in refused(run(capsys, "image", method, "--out", ""))


def test_every_verb_that_writes_was_asked() -> None:
    assert set(ARGUMENTS) | WITHOUT_OUT == set(VERBS)


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("ig", "--path-steps", "0"),
        ("igos", "--path-steps", "0"),
        ("igos++", "--iterations", "0"),
        ("igos+", "--l1", "-1"),
        ("igos", "--l2", "-1"),
        ("rise", "--size", "1"),
        ("rise", "--masks", "1"),
        ("rise", "--p", "2"),
        ("smoothgrad", "--samples", "0"),
        ("smoothgrad", "--noise", "-1"),
        ("occlusion", "--window", "0"),
        ("occlusion", "--stride", "0"),
        ("perturbation", "--stride", "0"),
        ("perturbation", "--sigma", "0"),
    ],
)
def test_a_setting_is_refused_by_the_name_that_was_typed(
    method: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refused(run(capsys, "image", method, option, value))
    assert sentence.startswith(f"moorelens: {option} ")


def test_the_usual_settings_of_every_method_are_taken() -> None:
    for config, _ in METHODS.values():
        check_settings(config())
        assert set(settings_of(config())) <= set(config.settings.values())
