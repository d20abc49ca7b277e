"""What a study compares: models that answer alike, and the pictures that all of them get right."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import torch
from torch import Tensor

from moorelens.errors import ImageError, ModelError, OptionError
from moorelens.pipelines.images.study_config import StudyConfig, Task, model_references
from moorelens.pipelines.images.text_files import read_text
from moorelens.runs.hashing import digest
from moorelens.saliency.images.decoding import Unreadable
from moorelens.saliency.images.faults import blaming
from moorelens.saliency.images.loading import Skipped, check_found, file_bytes, picture_files, read_picture
from moorelens.saliency.images.models import ImageModel, identity
from moorelens.saliency.images.opening import open_model
from moorelens.saliency.shapes import CAUSES, Shapes, classes_of, make_shapes

_SEED = 2_000_003  # so that no picture is one of those that the bundled models were trained or chosen on
_BATCH = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A picture of a study: `raw (C, H, W)` in [0, 1] as the models are shown it, and `label`, the class it shows.

    `causes (n, H, W)` bool: the parts that decide the class, where it was made; else None.
    """

    name: str
    label: int
    raw: Tensor
    causes: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Models:
    """The compared models in their order, their references and the hashes of what they are."""

    references: tuple[str, ...]
    names: tuple[str, ...]
    identities: tuple[str, ...]
    opened: tuple[ImageModel, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, which are the same for all."""
        return self.opened[0].classes

    @property
    def shown(self) -> ImageModel:
        """The model whose size pictures are brought to: the first that names one."""
        return next((model for model in self.opened if model.size is not None), self.opened[0])


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """How the compared pictures were chosen: of `total`, those that every model gets right.

    `right`: how many each model gets right; `shown`: how many there are of each class; `skipped`: files that are no
    pictures, and why.
    """

    total: int
    shown: tuple[int, ...]
    right: dict[str, int]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A request that was understood: the models, the pictures that all get right, and how these were picked."""

    models: Models
    subjects: tuple[Subject, ...]
    picked: Picked
    pictures_id: str


def open_study(config: StudyConfig) -> Study:
    """Open models and pictures, and keep the pictures that all models get right.

    Raises `ModelError` for models that cannot be compared, `ImageError` and `OptionError` for pictures without labels,
    and where no picture is left.
    """
    models = open_models(model_references(config))
    found, skipped = _bundled(config, models) if config.images is None else (_folder(config, models))
    answers = {name: _right(model, found) for name, model in zip(models.names, models.opened, strict=True)}
    kept = [place for place in range(len(found)) if all(right[place] for right in answers.values())]
    right = {name: sum(flags) for name, flags in answers.items()}
    if not kept:
        counts = ", ".join(f"{name} {count}" for name, count in right.items())
        raise ImageError(
            f"Models are compared on the pictures that all of them get right, and of these {len(found)} there is none "
            f"({counts} right): check the labels, or compare other models."
        )
    return Study(
        models=models,
        subjects=tuple(found[place] for place in kept),
        picked=Picked(
            total=len(found),
            shown=tuple(sum(one.label == place for one in found) for place in range(len(models.classes))),
            right=right,
            skipped=tuple((one.name, one.reason) for one in skipped),
        ),
        pictures_id=digest([(one.name, one.label, one.raw.numpy()) for one in found]),
    )


def open_models(references: Sequence[str]) -> Models:
    """Open the compared models; raises `ModelError` where they do not read and name the same things."""
    opened = tuple(open_model(reference) for reference in references)
    first = opened[0]
    for reference, model in zip(references, opened, strict=True):
        if model.classes != first.classes:
            raise ModelError(
                f"Compared models have the same classes in the same order, and {references[0]} has "
                f"{_some(first.classes)} where {reference} has {_some(model.classes)}: compare models of one task."
            )
        if model.channels != first.channels:
            raise ModelError(
                f"Compared models read the same pictures, and {references[0]} reads {first.channels} channels where "
                f"{reference} reads {model.channels}: wrap one of them."
            )
    sizes = {model.size: reference for reference, model in zip(references, opened, strict=True) if model.size}
    if len(sizes) > 1:
        words = " and ".join(f"{ref} {size[0]} x {size[1]}" for size, ref in sizes.items() if size is not None)
        raise ModelError(
            f"Compared models are shown the same pixels, and these read other sizes ({words}): wrap one of them in a "
            "module that resizes its input."
        )
    return Models(
        references=tuple(references),
        names=_names([model.name for model in opened]),
        identities=tuple(identity(model) for model in opened),
        opened=opened,
    )


def _names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with a number behind those that are there already."""
    found: list[str] = []
    for name in names:
        number, fresh = 1, name
        while fresh in found:
            number += 1
            fresh = f"{name} ({number})"
        found.append(fresh)
    return tuple(found)


def _bundled(config: StudyConfig, models: Models) -> tuple[list[Subject], list[Skipped]]:
    size = models.shown.size or (56, 56)
    _check_task(config.task, models, size)
    generator = torch.Generator().manual_seed(_SEED + config.seed)
    made = make_shapes(
        config.count, generator=generator, task=config.task, size=size[0],
        p_spurious=0.5 if config.task == "watermark" else 0.0,
    )  # fmt: skip
    return [
        Subject(
            name=f"{config.task}-{row + 1:04d}",
            label=int(made.y[row]),
            raw=made.x[row],
            causes=_causes(made, config.task, row),
        )
        for row in range(config.count)
    ], []


def _causes(made: Shapes, task: Task, row: int) -> Tensor:
    return torch.stack([made.part(name)[row] for name in CAUSES[task]])


def _check_task(task: Task, models: Models, size: tuple[int, int]) -> None:
    names = classes_of(task)
    # Bundled models of the task `and` have one class more, for what is no pair.
    if models.classes[: len(names)] != tuple(names) or models.opened[0].channels != 3 or size[0] != size[1]:
        raise ModelError(
            f"Bundled pictures of the task {task!r} are square, in colour and show {_some(names)}, and "
            f"{models.references[0]} names {_some(models.classes)} in {models.opened[0].channels} channels of "
            f"{size[0]} x {size[1]}: choose another --task, or pictures of your own with --images."
        )


def _folder(config: StudyConfig, models: Models) -> tuple[list[Subject], list[Skipped]]:
    folder = Path(config.images or "")
    if not folder.is_dir():
        raise ImageError(
            f"--images is a folder of pictures, and {folder} is {'a file' if folder.exists() else 'not there'}: give "
            "the folder that holds one folder for each class, or one with --labels."
        )
    label_of = _listed(Path(config.labels), folder, models) if config.labels is not None else _subfolder(models)
    found: list[Subject] = []
    skipped: list[Skipped] = []
    for name in picture_files(folder):
        try:
            raw = _raw(folder / name, name, models, config)
        except ImageError as error:
            reason = error.__cause__ if isinstance(error.__cause__, Unreadable) else error
            skipped.append(Skipped(name=name, reason=str(reason)))
            continue
        found.append(Subject(name=name, label=label_of(name), raw=raw))
    check_found(folder, len(found), skipped)
    return found, skipped


def _raw(path: Path, name: str, models: Models, config: StudyConfig) -> Tensor:
    return read_picture(file_bytes(path), name=name, model=models.shown, fit=config.fit).raw


def _subfolder(models: Models) -> Callable[[str], int]:
    """Return what says the class of `CLASS/picture.png`."""

    def label(name: str) -> int:
        parts = PurePosixPath(name).parts
        if len(parts) < 2:
            raise ImageError(
                f"Pictures of a study lie in a folder for each class, and {name} lies in none, so that nobody knows "
                "what it shows: move it, or list the pictures with --labels FILE.csv."
            )
        return _class(parts[0], models, where=f"the folder {parts[0]!r}")

    return label


def _listed(path: Path, folder: Path, models: Models) -> Callable[[str], int]:
    """Return what says the class of a picture by a CSV file; raises where the file cannot be read, or names others."""
    known = _read_labels(path)
    missing = [name for name in known if not (folder / name).is_file()]
    if missing:
        raise OptionError(
            f"--labels lists pictures of --images, and {missing[0]!r} is not in {folder}: correct the list."
        )

    def label(name: str) -> int:
        if name not in known:
            raise OptionError(f"--labels says what every picture shows, and {name!r} is not in {path}: add a line.")
        return _class(known[name], models, where=f"{path} for {name!r}")

    return label


def _read_labels(path: Path) -> Mapping[str, str]:
    text = read_text(path, what="--labels is a CSV file with the columns file,label")
    try:
        cells = csv.reader(io.StringIO(text, newline=""))
        rows = [[cell.strip() for cell in row] for row in cells if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise OptionError(
            f"--labels is a CSV file with the columns file,label, and {path} is none ({error}): correct it."
        ) from error
    if rows and [cell.lower() for cell in rows[0][:2]] == ["file", "label"]:
        rows = rows[1:]
    for row in rows:
        if len(row) != 2:
            raise OptionError(
                f"--labels is a CSV file with the columns file,label, and {path} has a line of {len(row)} columns "
                f"({','.join(row)[:60]!r}): correct it."
            )
    if not rows:
        raise OptionError(f"--labels says what every picture shows, and {path} has no line: give the right file.")
    return {PurePosixPath(name.replace("\\", "/")).as_posix(): label for name, label in rows}


def _class(text: str, models: Models, *, where: str) -> int:
    """Return the class that `text` names, or numbers; raises `OptionError`."""
    wanted = text.strip()
    for fold in (str, str.casefold):
        places = [place for place, name in enumerate(models.classes) if fold(name) == fold(wanted)]
        if len(places) == 1:
            return places[0]
    if wanted.isdecimal() and int(wanted) < len(models.classes):
        return int(wanted)
    raise OptionError(
        f"A label is one of the models' classes, by name or number, and {wanted!r} ({where}) is not; they are "
        f"{_some(models.classes)}: rename it."
    )


def _right(model: ImageModel, subjects: Sequence[Subject]) -> list[bool]:
    """Return for each picture whether the model's first answer is its label."""
    found: list[bool] = []
    with torch.no_grad():
        for group in _alike(subjects):
            with blaming(model, name=group[0].name):
                logits = model.module(model.normaliser(torch.stack([one.raw for one in group])))
            if not bool(torch.isfinite(logits).all()):
                raise ModelError(
                    f"A model answers with finite numbers, and {model.name} answered a picture such as "
                    f"{group[0].name} with NaN or infinity: look at its weights and its normalisation."
                )
            found += (logits.argmax(dim=1) == torch.tensor([one.label for one in group])).tolist()
    return found


def _alike(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """Return the pictures in order, in groups of one size that fit a batch."""
    groups: list[list[Subject]] = []
    for one in subjects:
        if groups and len(groups[-1]) < _BATCH and groups[-1][-1].raw.shape == one.raw.shape:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > 6 else ''})"
