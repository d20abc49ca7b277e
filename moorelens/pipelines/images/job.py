"""What a job on pictures works on: the opened model, the pictures it will be shown, and where the results go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from moorelens.errors import ImageError, OptionError
from moorelens.pipelines.images.config import (
    METHODS,
    GradCAMImageConfig,
    ImageConfig,
    image_out,
    numbers_of,
    recorded_image,
    settings_of,
    size_of,
)
from moorelens.pipelines.images.samples import Sample, bundled_samples, folder_names
from moorelens.pipelines.images.text_files import read_text
from moorelens.runs.hashing import digest, digest_bytes
from moorelens.runs.manifest import Header, make_header
from moorelens.saliency.baselines import Baseline, constant, gaussian_blur, mean_colour, noise
from moorelens.saliency.images.decoding import Unreadable
from moorelens.saliency.images.gradients import check_gradient
from moorelens.saliency.images.loading import (
    Skipped,
    check_found,
    file_bytes,
    picture_files,
    read_picture,
    shown_name,
)
from moorelens.saliency.images.models import ImageModel, identity
from moorelens.saliency.images.opening import DEFAULT, open_model
from moorelens.saliency.registry import make_explainer
from moorelens.saliency.scores import submodule

BUNDLED = "bundled:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture that will be explained: its folder in the run (`key`, empty for a single one), and how it is read.

    `sha`: of what `read()` returns the picture of.
    """

    key: str
    name: str
    sha: str
    read: Callable[[], Sample]


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """A request that was understood. `single`: the results of one picture lie directly in `folder`."""

    config: ImageConfig
    method: str
    model: ImageModel
    model_id: str
    device: str
    target: int | None
    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]
    single: bool
    folder: Path

    def header(self) -> Header:
        """Return what the manifest says of this job."""
        return make_header(
            f"image {self.method}",
            identity={"model": self.model_id},
            config={"method": self.method, **recorded_image(self.config)},
            threads=self.config.threads,
            seeds={"run": [self.config.seed]},
        )


def open_image_job(config: ImageConfig, *, method: str) -> ImageJob:
    """Understand a request; raises `RequestError` for what is wrong in it, before anything is written."""
    device = device_of(config)
    model = model_of(config)
    if method in METHODS:  # what is built on this job for another purpose checks its own settings
        make_explainer(METHODS[method][1], **settings_of(config))
        check_gradient(model, method=method)
    if isinstance(config, GradCAMImageConfig) and config.layer is not None:
        submodule(model.module, config.layer)
    target = None if config.class_ is None else class_of(model, config.class_)
    single, sources, skipped = sources_of(config, model)
    model.module.to(device)
    return ImageJob(
        config=config,
        method=method,
        model=model,
        model_id=identity(model),
        device=device,
        target=target,
        sources=sources,
        skipped=skipped,
        single=single,
        folder=Path(config.out or image_out(method, config)),
    )


def model_of(config: ImageConfig) -> ImageModel:
    """Return the model that a request names, tried on one grey picture; raises `ModelError`."""
    names = None if config.classes is None else class_names(Path(config.classes))
    return open_model(
        config.model,
        arguments=config.model_args,
        weights=config.weights,
        mean=numbers_of(config.mean, "mean"),
        std=numbers_of(config.std, "std"),
        size=size_of(config.input_size, "input-size"),
        channels=config.channels,
        classes=names,
    )


def class_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text file; raises `OptionError` where it cannot be read or holds none.

    Of names that several classes have, as "crane" in ImageNet, each gets its class's number: `crane (134)`.
    """
    lines = read_text(path, what="--classes is a text file with one name a line").splitlines()
    names = tuple(line.strip() for line in lines)
    while names and not names[-1]:
        names = names[:-1]
    if not names:
        raise OptionError(f"--classes is a text file with one name a line, and {path} is empty: give the right file.")
    times = Counter(names)
    return tuple(f"{name} ({number})".lstrip() if times[name] > 1 else name for number, name in enumerate(names))


def class_of(model: ImageModel, asked: str) -> int:
    """Return the class that `asked` names, or numbers; raises `OptionError` where there is none, or several."""
    wanted = asked.strip()
    for fold in (str, str.casefold):
        found = [
            number
            for number, name in enumerate(model.classes)
            if fold(wanted) in (fold(name), fold(name.removesuffix(f" ({number})")))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise OptionError(
                f"--class names one class, and {asked!r} is the name of {len(found)} of them: give its number, one of "
                f"{', '.join(map(str, found))}."
            )
    if wanted.isdecimal() and int(wanted) < len(model.classes):
        return int(wanted)
    shown = ", ".join(model.classes[:8]) + (", ..." if len(model.classes) > 8 else "")
    raise OptionError(
        f"--class is a name or a number from 0 to {len(model.classes) - 1}, and {asked!r} is none of {model.name}'s: "
        f"it has {shown}."
    )


def device_of(config: ImageConfig) -> str:
    """Return `cpu` or `cuda`; raises `OptionError` where a GPU is asked for and torch finds none."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise OptionError("--device cuda asks for a GPU, and torch finds none here: pass --device cpu or auto.")
    return "cuda" if config.device != "cpu" and there else "cpu"


def baseline_of(config: ImageConfig, model: ImageModel) -> Baseline:
    """Return what hidden pixels show, in model-input space."""
    levels = {"black": 0.0, "grey": 0.5, "white": 1.0}
    if config.baseline in levels:
        return constant(levels[config.baseline], model.normaliser)
    if config.baseline == "noise":
        return noise(0.2, model.normaliser)
    return mean_colour() if config.baseline == "mean" else gaussian_blur()


def sources_of(config: ImageConfig, model: ImageModel) -> tuple[bool, tuple[Source, ...], tuple[Skipped, ...]]:
    """Return whether there is a single picture, the pictures, and the files that are none."""
    if config.image is None:
        return False, _bundled_sources(config, model), ()
    path = Path(config.image)
    if not path.is_dir():
        return True, (_source(path, name=shown_name(path.name), key="", config=config, model=model),), ()
    found: dict[str, str] = {}
    skipped: list[Skipped] = []
    for name in picture_files(path):
        try:
            found[name] = _tried(path / name, name=shown_name(name), config=config, model=model)
        except ImageError as error:
            skipped.append(Skipped(name=shown_name(name), reason=reason_of(error)))
    check_found(path, len(found), skipped)
    keys = folder_names(list(found))
    sources = tuple(
        Source(
            key=keys[name],
            name=shown_name(name),
            sha=sha,
            read=_reader(path / name, shown_name(name), sha, config, model),
        )
        for name, sha in found.items()
    )
    return False, sources, tuple(skipped)


def reason_of(error: ImageError) -> str:
    """Return why a file is no picture, as the rest of a sentence that begins with its name."""
    return str(error.__cause__) if isinstance(error.__cause__, Unreadable) else str(error)


def _source(path: Path, *, name: str, key: str, config: ImageConfig, model: ImageModel) -> Source:
    sha = _tried(path, name=name, config=config, model=model)
    return Source(key=key, name=name, sha=sha, read=_reader(path, name, sha, config, model))


def _tried(path: Path, *, name: str, config: ImageConfig, model: ImageModel) -> str:
    """Return the hash of a picture's file once it was read; raises `ImageError`."""
    data = file_bytes(path)
    read_picture(data, name=name, model=model, fit=config.fit)
    return digest_bytes(data)


def _reader(path: Path, name: str, sha: str, config: ImageConfig, model: ImageModel) -> Callable[[], Sample]:
    def read() -> Sample:
        data = file_bytes(path)
        if digest_bytes(data) != sha:
            raise ImageError(f"A picture stays as it is while it is explained, and {path} has changed: run it again.")
        return Sample(picture=read_picture(data, name=name, model=model, fit=config.fit))

    return read


def _bundled_sources(config: ImageConfig, model: ImageModel) -> tuple[Source, ...]:
    reference = config.model or DEFAULT
    if not reference.startswith(BUNDLED):
        raise OptionError(
            f"A model of your own is shown pictures of your own, and {reference} was given none: add --image FILE or "
            "--image FOLDER."
        )
    samples = bundled_samples(reference.removeprefix(BUNDLED), count=config.pictures, seed=config.seed)
    return tuple(
        Source(
            key=sample.picture.name,
            name=sample.picture.name,
            sha=digest(sample.picture.raw.numpy()),
            read=partial(_same, sample),
        )
        for sample in samples
    )


def _same(sample: Sample) -> Sample:
    return sample
