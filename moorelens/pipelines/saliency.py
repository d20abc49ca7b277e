"""The saliency stage: what each decision point looked at, tried out by intervention, and what hiding it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from moorelens.envs.playing import play
from moorelens.envs.rollouts import Rollouts
from moorelens.envs.truth import truth_mask
from moorelens.fsm.automata.decisions import DecisionPoint, decision_points
from moorelens.fsm.automata.exchange.machine_json import decode_machine
from moorelens.fsm.players import NetworkPlayer
from moorelens.fsm.reading import FeatureReader
from moorelens.pipelines.job import Job
from moorelens.pipelines.machines import MACHINE, QUANTISER, TRACES, decode_traces, network_of
from moorelens.pipelines.replay import screens_and_memories
from moorelens.pipelines.saliency_pictures import pictures_of
from moorelens.runs.arrays import encode_arrays
from moorelens.runs.stages import Stage, StageContext
from moorelens.saliency.differential.analysis import BranchSaliency, Scene, branch_saliency, memory_before, salient_area
from moorelens.saliency.differential.config import DifferentialConfig, Level
from moorelens.saliency.differential.hiding import HidingPlayer
from moorelens.saliency.differential.intervention import salient_parts
from moorelens.saliency.differential.records import BranchRecord, HiddenReturns, SaliencyRecords

FOLDER = "saliency/"
RECORDS = f"{FOLDER}saliency.json"
_TOP = 12
Screens = Mapping[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]


class SaliencyBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How many decision points are explained, from how many pairs, and for how many of them hiding is tried out.

    `points`: the weightiest (visits times entropy), each by its two most taken branches. `hiding`: for so many, the
    games are played again without the salient part, `games` of them.
    """

    points: int
    pairs: int
    hiding: int
    games: int


_BUDGETS = {
    ("quick", False): SaliencyBudget(points=12, pairs=32, hiding=3, games=8),
    ("quick", True): SaliencyBudget(points=8, pairs=8, hiding=1, games=1),
    ("standard", False): SaliencyBudget(points=24, pairs=64, hiding=6, games=16),
    ("standard", True): SaliencyBudget(points=16, pairs=16, hiding=4, games=2),
    ("thorough", False): SaliencyBudget(points=40, pairs=64, hiding=12, games=32),
    ("thorough", True): SaliencyBudget(points=40, pairs=32, hiding=8, games=4),
}


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    """One decision point that is finished: its record and its files."""

    record: BranchRecord
    files: dict[str, bytes]


def saliency_budget(job: Job) -> SaliencyBudget:
    """Return how much a preset explains; our choice, so that `quick` stays quick."""
    return _BUDGETS[job.config.preset, job.atari]


def saliency_stage(job: Job) -> Stage:
    """The weightiest decision points, each with its two most taken branches."""
    plan = saliency_budget(job)
    config = DifferentialConfig(pairs=plan.pairs, seed=job.config.seed, level=level_of(job))

    def run(context: StageContext) -> Mapping[str, bytes]:
        scene, played = read_scene(job, context, config)
        points = ranked_points(scene)
        saved = context.checkpoint.load()
        done: dict[str, _Done] = msgspec.msgpack.decode(saved["done"], type=dict[str, _Done]) if saved else {}
        chosen = points[: plan.points]
        with context.progress.task("saliency", total=len(chosen)) as task:
            for place, point in enumerate(chosen):
                if str(place) not in done:
                    found = branch_saliency(scene, state=point.state, targets=main_branches(point), config=config)
                    games = plan.games if place < plan.hiding else 0
                    record, files = explained(job, scene, played, found, games=games)
                    done[str(place)] = _Done(record=record, files=files)
                    if context.checkpoint.due():
                        context.checkpoint.save({"done": msgspec.msgpack.encode(done)})
                task.advance()
        return written(config, points, [done[str(place)] for place in range(len(chosen))])

    return Stage(
        name="saliency",
        run=run,
        config={"plan": plan, "differential": config, "features": job.env.feature_names, "actions": job.action_names},
        needs=(QUANTISER, MACHINE, TRACES),
        outputs=(FOLDER,),
    )


def written(config: DifferentialConfig, points: list[DecisionPoint], done: list[_Done]) -> dict[str, bytes]:
    """Return the files of explained decision points, `points` being all there are."""
    left = len(points) - len(done)
    notes = (f"{left} lighter decision points were not explained.",) if left else ()
    records = SaliencyRecords(
        config=config, branches=tuple(one.record for one in done), decision_points=len(points), notes=notes
    )
    files = {name: data for one in done for name, data in one.files.items()}
    return {RECORDS: msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n", **files}


class Reads(Protocol):
    """Whatever reads the files of a run by name: a stage's context, or an opened run."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        ...


def read_scene(job: Job, files: Reads, config: DifferentialConfig, *, memories: bool = False) -> tuple[Scene, Rollouts]:
    """Return what the machine of a run was read off; with the policy's own memories where something asks for them."""
    network = network_of(job, files.read(QUANTISER))
    played, traces = decode_traces(files.read(TRACES))
    scene = Scene(
        network=network,
        machine=decode_machine(files.read(MACHINE)),
        traces=traces,
        observations=played.frames[played.frame_index],
        hidden=memory_before(job.loaded.policy, played) if memories or config.level == "hidden" else None,
    )
    return scene, played


def level_of(job: Job) -> Level:
    """Return what is compared: symbols, or where the policy brought no quantiser for them, the next memory."""
    return "hidden" if job.published and "observation" not in job.published else "observation"


def ranked_points(scene: Scene) -> list[DecisionPoint]:
    """Return the decision points, the weightiest first; the silent start is none."""
    points = [point for point in decision_points(scene.machine) if not point.silent]
    return sorted(points, key=lambda point: (-point.bits, point.state))


def main_branches(point: DecisionPoint) -> tuple[int, int]:
    """Return the targets of the two branches taken most often."""
    first, second = sorted(point.branches, key=lambda branch: (-branch.count, branch.target))[:2]
    return first.target, second.target


def explained(
    job: Job, scene: Scene, played: Rollouts, found: BranchSaliency, *, games: int
) -> tuple[BranchRecord, dict[str, bytes]]:
    """Return the record of two branches and its files: arrays, and a picture."""
    rows, _, _ = found.pairs.both_ways()
    screens: Screens = screens_and_memories(job, played, rows.tolist()) if job.atari else {}
    record = record_of(job, scene, found, screens)
    if games and record.compared:
        record = msgspec.structs.replace(record, hidden=hidden_returns(job, scene, found, games=games))
    path = FOLDER + record.key
    pictures = pictures_of(job, scene, found, record, screens)
    return record, {f"{path}.npz": arrays_of(found), **{path + ending: data for ending, data in pictures.items()}}


def record_of(job: Job, scene: Scene, found: BranchSaliency, screens: Screens) -> BranchRecord:
    """Return the numbers of two compared branches."""
    vector = scene.observations.ndim == 2
    mean = pixels(found.mean)
    flips = found.flips

    def flipped(flags: npt.NDArray[np.bool_] | None) -> int | None:
        return None if flags is None else int(flags.sum())

    on_objects, area = _on_objects(job, found, screens)
    return BranchRecord(
        state=found.pairs.state,
        targets=found.pairs.targets,
        seen=found.pairs.seen,
        pairs=len(found.maps),
        skipped=int(found.skipped.sum()),
        parts=0 if flips is None else flips.parts,
        flips_salient=0 if flips is None else int(flips.salient.sum()),
        flips_other=0 if flips is None else flipped(flips.other),
        left_salient=0 if flips is None else int(flips.left_salient.sum()),
        left_other=0 if flips is None else flipped(flips.left_other),
        completeness=round(found.completeness, 6),
        digits=tuple(found.digits.tolist()),
        top=tuple(mean.flatten().argsort(descending=True, stable=True)[:_TOP].tolist()),
        mean=tuple(round(value, 6) for value in mean.tolist()) if vector else None,
        spread=tuple(round(value, 6) for value in found.spread.tolist()) if vector else None,
        on_objects=on_objects,
        object_area=area,
    )


def pixels(values: torch.Tensor) -> torch.Tensor:
    """Return a map (H, W) of an image's (C, H, W), channels summed; one of a vector (F,) as it is."""
    return values.sum(dim=0) if values.ndim == 3 else values


def _on_objects(job: Job, found: BranchSaliency, screens: Screens) -> tuple[float | None, float | None]:
    """Return how much of the positive saliency, and how much of the picture, lies on the game's objects."""
    rows, opposite, _ = found.pairs.both_ways()
    shares, areas = [], []
    for place, (row, other) in enumerate(zip(rows.tolist(), opposite.tolist(), strict=True)):
        masks = [truth_mask(job.env.id, screens[at][1]) for at in (row, other) if at in screens]
        positive = pixels(found.maps[place]).clamp_min(0).numpy()
        if len(masks) < 2 or masks[0] is None or masks[1] is None or not positive.sum():
            continue
        # What differs may be where an object is, or where the other observation has it.
        either = masks[0] | masks[1]
        shares.append(float(positive[either].sum() / positive.sum()))
        areas.append(float(either.mean()))
    return (round(float(np.mean(shares)), 6), round(float(np.mean(areas)), 6)) if shares else (None, None)


def hidden_returns(job: Job, scene: Scene, found: BranchSaliency, *, games: int) -> HiddenReturns:
    """Play fit games without the salient parts from the decision on, and without as many others drawn by chance."""
    reader = FeatureReader(job.loaded.policy)
    mean = pixels(found.mean)
    salient = salient_parts(mean, salient_area(found.config, images=scene.observations.ndim > 2)).numpy()
    rest = np.setdiff1d(np.arange(mean.numel()), salient)
    other = np.random.default_rng([found.config.seed, found.pairs.state]).permutation(rest)[: len(salient)]
    fill = scene.observations.mean(axis=0)
    code = scene.machine.state_codes[found.pairs.state]
    seeds = job.seeds("fit")[:games]

    def score(player: Any) -> float:
        return float(play(job.fitting, seeds, player, workers=1).returns.mean())

    def without(parts: npt.NDArray[np.int64]) -> float:
        return score(HidingPlayer(scene.network, code=code, parts=parts, fill=fill, features=reader))

    return HiddenReturns(
        games=len(seeds),
        seen=score(NetworkPlayer(scene.network, features=reader)),
        salient_hidden=without(salient),
        other_hidden=without(other) if len(other) else None,
    )


def arrays_of(found: BranchSaliency) -> bytes:
    """Return the maps as `.npz`: mean and spread, each pair's rows, what was skipped, the settings and the seed."""
    rows, opposite, _ = found.pairs.both_ways()
    arrays: dict[str, Any] = {
        "mean": found.mean.numpy(),
        "spread": found.spread.numpy(),
        "rows": rows,
        "compared_with": opposite,
        "skipped": found.skipped,
        "digits": found.digits,
        "settings": np.frombuffer(msgspec.json.encode(found.config), dtype=np.uint8),
    }
    if found.maps.ndim == 2:
        arrays["maps"] = found.maps.numpy()
    if found.memory is not None:
        arrays["memory"] = found.memory.numpy()
    if found.flips is not None:
        flags = {name: getattr(found.flips, name) for name in ("salient", "other", "left_salient", "left_other")}
        arrays |= {name: values for name, values in flags.items() if values is not None}
    return encode_arrays(arrays)
