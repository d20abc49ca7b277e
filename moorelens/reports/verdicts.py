"""The findings in words, computed from the numbers and nothing else; each names the table it can be checked in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from moorelens.reports.data import ReportData
from moorelens.reports.format import MEMORYLESS, count, listed, number, plural, share, signed, span
from moorelens.reports.summary import MachineScore, Score

Level = Literal["good", "mixed", "poor", "unknown", "plain"]

# A machine "keeps the return" up to this part of the policy's, "mostly keeps" it up to the second (issue 2: 2 %).
KEPT, MOSTLY_KEPT = 0.02, 0.10
# Below this agreement the machine may play as well as the policy, but not alike.
# Fewer held-out games than any preset plays, after copies were left out, are too few to call a return kept.
FEW = 5
ALIKE = 0.9
# A memory gain under two points of agreement is called "little": it is the loss we tolerate in a return.
LITTLE_GAIN = 0.02


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One finding: the question, the answer, the tables that hold its numbers, and how good the news is."""

    key: str
    question: str
    answer: str
    tables: tuple[str, ...]
    level: Level

    @property
    def word(self) -> str:
        """The level in one word, empty where the answer is neither good nor bad news."""
        return _WORDS.get((self.key, self.level), _WORDS.get(("", self.level), ""))


_WORDS: dict[tuple[str, Level], str] = {
    ("", "good"): "holds", ("", "mixed"): "partly", ("", "poor"): "fails", ("", "unknown"): "open",
    ("unseen", "good"): "little", ("unseen", "mixed"): "some", ("unseen", "poor"): "much",
}  # fmt: skip


def verdicts(data: ReportData) -> tuple[Verdict, ...]:
    """Return all findings in reading order; a question that the numbers cannot answer says so."""
    makers: tuple[Callable[[ReportData], Verdict | None], ...] = (
        _faithful, _published, _size, _decisions, _memory, _unseen, _stability, _saliency, _unmeasured,
    )  # fmt: skip
    return tuple(verdict for make in makers if (verdict := make(data)) is not None)


def headline(data: ReportData) -> str:
    """Return the report in one sentence: how many states, and what they keep of the return."""
    sizes, returns = data.summary.sizes, data.summary.returns
    size = sizes.reduced or sizes.machine
    player = returns.reduced or returns.machine
    if size is None:
        return "No machine was extracted in this run."
    text = f"{plural(size.states, 'state')} stand in for the network"
    if player is None or returns.policy is None:
        return f"{text}; how well they play was not measured."
    return f"{text} and score {number(player.mean)} where it scores {number(returns.policy.mean)}."


def kept_level(policy: float, loss: Score) -> Level:
    """Return how much of the policy's return is kept: by the mean and, if there is one, the interval's bad end."""
    scale = abs(policy) or 1.0
    if loss.mean <= KEPT * scale:
        return "good" if loss.high is None or loss.high <= MOSTLY_KEPT * scale else "mixed"
    return "mixed" if loss.mean <= MOSTLY_KEPT * scale else "poor"


def _faithful(data: ReportData) -> Verdict:
    returns, fidelity = data.summary.returns, data.summary.fidelity
    best = next(((name, loss) for name, loss in _losses(data) if loss is not None), None)
    parts: list[str] = []
    level: Level = "unknown"
    if returns.policy is not None and best is not None:
        name, loss = best
        level = kept_level(returns.policy.mean, loss)
        parts.append(_loss_sentence(data, name, loss, level))
        if loss.n < FEW and level == "good":
            level = "mixed"
            parts.append(f"{plural(loss.n, 'game')} {'is' if loss.n == 1 else 'are'} too few to be sure.")
    elif returns.policy is not None and returns.machine is not None:
        parts.append(f"The machine scores {number(returns.machine.mean)}, the policy {number(returns.policy.mean)}.")
    if fidelity.teacher_forced_policy is not None:
        alike = fidelity.teacher_forced_policy >= ALIKE
        if not alike and level == "good":
            level = "mixed"
        parts.append(
            f"{'S' if alike else 'But it does not play alike: s'}hown the same observations, the machine takes the "
            f"policy's action in {share(fidelity.teacher_forced_policy)} of steps."
        )
    if fidelity.replay is not None and fidelity.replay < 1:
        level = "poor"
        parts.append(
            f"It does not even reproduce the traces it was built from ({share(fidelity.replay)}): it is not sound."
        )
    answer = " ".join(parts) or "Neither returns nor agreement were measured on held-out games."
    return Verdict(
        key="faithful", question="How faithful is it?", answer=answer, tables=("returns", "fidelity"), level=level
    )


def _losses(data: ReportData) -> tuple[tuple[str, Score | None], ...]:
    loss = data.summary.loss
    return ("reduced machine", loss.reduced), ("machine", loss.machine), ("folded machine", loss.folded)


def _loss_sentence(data: ReportData, name: str, loss: Score, level: Level) -> str:
    policy = data.summary.returns.policy
    assert policy is not None
    verb = {"good": "keeps", "mixed": "mostly keeps"}.get(level, "loses part of")
    certain = f", 95\u202f% interval {span(loss.low, loss.high)}" if loss.low is not None and not loss.bound else ""
    text = (
        f"The {name} {verb} the policy's return: on {plural(loss.n, 'held-out game')} it loses {number(loss.mean)} "
        f"of {number(policy.mean)}{certain}."
    )
    if loss.bound is not None:
        text += f" Every game came out alike, so up to {share(loss.bound)} of games may still differ."
    decided = _decided(data)
    return f"{text} It decided {share(decided)} of its steps by recorded transitions." if decided is not None else text


def _decided(data: ReportData) -> float | None:
    player: MachineScore | None = data.summary.returns.reduced or data.summary.returns.machine
    return None if player is None else player.decided


def _published(data: ReportData) -> Verdict | None:
    returns = data.summary.returns_published
    if returns.policy is None or returns.machine is None:
        return None
    players = (("machine", returns.machine), ("reduced machine", returns.reduced), ("folded machine", returns.folded))
    scores = [f"the {name} {number(score.mean)}" for name, score in players if score is not None]
    answer = (
        f"In the one deterministic game that the papers report, the policy scores {number(returns.policy.mean)}, "
        f"{listed(scores)}. One game has no interval, and a machine may know it by heart."
    )
    level = kept_level(returns.policy.mean, _difference(returns.policy, returns.machine))
    return Verdict(
        key="published", question="And by the papers' protocol?", answer=answer, tables=("published",), level=level
    )


def _difference(policy: Score, player: Score) -> Score:
    return Score(mean=policy.mean - player.mean, low=None, high=None, n=player.n)


def _size(data: ReportData) -> Verdict:
    sizes = data.summary.sizes
    parts: list[str] = []
    if sizes.machine is not None:
        machine = sizes.machine
        parts.append(
            f"As extracted it has {plural(machine.states, 'state')}, {plural(machine.symbols, 'symbol')} and "
            f"{plural(machine.transitions, 'transition')}."
        )
    if sizes.reduced is not None:
        parts.append(f"Without losing a decision it reads as {plural(sizes.reduced.states, 'state')}.")
    if sizes.folded is not None:
        parts.append(_folded_sentence(data))
    answer = " ".join(parts) or "No machine was extracted."
    return Verdict(key="size", question="How big is it?", answer=answer, tables=("sizes",), level="plain")


def _folded_sentence(data: ReportData) -> str:
    folded = data.summary.sizes.folded
    assert folded is not None
    text = f"Folded as far as its traces allow it has {plural(folded.states, 'state')}"
    if folded.proven:
        text += ", which is proven to be the fewest possible"
    elif folded.lower_bound is not None:
        text += f", and no fewer than {count(folded.lower_bound)} can do"
    if folded.zero_evidence_merges:
        text += (
            f"; {plural(folded.zero_evidence_merges, 'merge')} rested on no common observation, "
            "so a small number alone says little"
        )
    return f"{text}."


def _decisions(data: ReportData) -> Verdict:
    numbers = data.summary.decisions
    if numbers.structural is None:
        answer = "Decision points were not looked for."
        return Verdict(
            key="decisions", question="Where does it decide?", answer=answer, tables=("decisions",), level="unknown"
        )
    size = data.summary.sizes.reduced or data.summary.sizes.machine
    of_all = f" of {count(size.states)}" if size is not None else ""
    parts = [f"What happens next depends on the observation in {count(numbers.structural)}{of_all} states."]
    if numbers.action is not None:
        parts.append(f"In {count(numbers.action)} of them the very next action does.")
    heaviest = sorted(data.decisions, key=lambda decision: -decision.weight_bits)[:3]
    total = sum(decision.weight_bits for decision in data.decisions)
    if len(data.decisions) > 3 and total > 0:
        part = sum(decision.weight_bits for decision in heaviest) / total
        names = listed([decision.label for decision in heaviest])
        parts.append(f"{names} carry {share(part)} of all that is decided, measured in bits.")
    if numbers.after_pruning is not None:
        parts.append(_pruned_sentence(numbers.after_pruning, numbers.structural))
    return Verdict(
        key="decisions", question="Where does it decide?", answer=" ".join(parts), tables=("decisions",), level="plain"
    )


def _pruned_sentence(left: int, before: int) -> str:
    if left >= before:
        stay = "The one decision survives" if left == 1 else f"All {count(left)} decisions survive"
        return f"{stay} pruning: none can go without changing the return."
    survive = "survives" if left == 1 else "survive"
    rest = "the other does" if before - left == 1 else "the others do"
    return f"{plural(left, 'decision')} {survive} pruning: {rest} not change the return."


def _memory(data: ReportData) -> Verdict:
    memory = data.summary.memory
    parts: list[str] = []
    level: Level = "unknown"
    if data.subject.cell == MEMORYLESS:
        level = "plain"
        parts.append("It has no memory: what it does follows from the current observation alone.")
    elif memory.memory_gain is not None:
        level = "plain"
        points = f"{signed(100 * memory.memory_gain)} points"
        if memory.memory_gain < -LITTLE_GAIN:
            parts.append(
                f"That cannot be told from the machine: the best table from the current symbol to an action agrees "
                f"with the policy more often than the machine does ({points} for the machine)."
            )
        elif memory.memory_gain <= LITTLE_GAIN:
            parts.append(
                f"Hardly: a table from the current symbol to an action agrees with the policy almost as often as the "
                f"machine does ({points})."
            )
        else:
            parts.append(
                f"It seems so: the machine agrees with the network more often than the best table from the current "
                f"symbol to an action ({points})."
            )
        parts += _rival_tree(data)
    if memory.reactivity is not None:
        parts.append(f"In {share(memory.reactivity)} of steps the symbol alone settles the action.")
    if memory.open_loop_index is not None:
        parts.append(f"Knowing only the time step, one would guess {share(memory.open_loop_index)} of the actions.")
    answer = " ".join(parts) or "Whether memory is used was not measured."
    return Verdict(key="memory", question="Does it use its memory?", answer=answer, tables=("memory",), level=level)


def _rival_tree(data: ReportData) -> list[str]:
    """Say how a small tree on the observation alone does, and who can tell more."""
    tree = data.summary.memory.best_tree
    if tree is None:
        return []
    return [
        f"A small tree on the observation alone agrees in {share(tree)} of steps; whether it plays as well, only "
        "the command moorelens evaluate tells."
    ]


def _unseen(data: ReportData) -> Verdict | None:
    fidelity = data.summary.fidelity
    parts: list[str] = []
    if fidelity.symbol_novelty is not None:
        parts.append(f"On held-out games {share(fidelity.symbol_novelty)} of the symbols had never been seen before.")
    if fidelity.undefined_rate is not None:
        parts.append(
            f"In {share(fidelity.undefined_rate)} of steps the machine had no recorded transition and guessed."
        )
    if not parts:
        return None
    worst = max(fidelity.symbol_novelty or 0.0, fidelity.undefined_rate or 0.0)
    level: Level = "good" if worst <= KEPT else "mixed" if worst <= MOSTLY_KEPT else "poor"
    return Verdict(
        key="unseen", question="What was never observed?", answer=" ".join(parts), tables=("fidelity",), level=level
    )


def _stability(data: ReportData) -> Verdict:
    stability = data.summary.stability
    if stability.repeats is None:
        answer = "Not measured: one extraction cannot tell. Run again with --repeats 5."
        return Verdict(key="stability", question="How stable is it?", answer=answer, tables=(), level="unknown")
    parts = [f"{plural(stability.repeats, 'extraction')} from different seeds were compared."]
    if stability.states is not None:
        parts.append(f"They have {number(stability.states)} states on average.")
    if stability.agreement is not None:
        parts.append(f"Any two take the same action in {share(stability.agreement)} of steps.")
    if stability.recurring is not None:
        parts.append(f"{share(stability.recurring)} of this machine's decision points are found by 80 % of them.")
    return Verdict(
        key="stability", question="How stable is it?", answer=" ".join(parts), tables=("stability",), level="plain"
    )


def _saliency(data: ReportData) -> Verdict | None:
    saliency = data.summary.saliency
    if saliency.flip_salient is None:
        return None
    flipped = f"changes the branch in {share(saliency.flip_salient)} of {plural(saliency.pairs or 0, 'pair')}"
    level: Level = "unknown"
    if saliency.flip_other is None:
        answer = f"Not to be judged: an observation has one feature only. Replacing it {flipped}."
    else:
        level = "good" if saliency.flip_salient > saliency.flip_other else "poor"
        answer = (
            f"Replacing the part of the observation marked as salient {flipped}; replacing as much elsewhere, in "
            f"{share(saliency.flip_other)}."
        )
    return Verdict(
        key="saliency", question="What drives the decisions?", answer=answer, tables=("saliency",), level=level
    )


def _unmeasured(data: ReportData) -> Verdict | None:
    summary = data.summary
    missing = [
        name
        for name, measured in (
            ("the return of the stochastic policy", summary.returns.policy_stochastic),
            ("the return of the quantised network", summary.returns.mmn),
            ("a pruned machine", summary.returns.pruned),
            ("the papers' protocol", summary.returns_published.policy),
            ("play with the network helping out", summary.returns_assisted.machine),
            ("saliency of the decisions", summary.saliency.pairs),
        )
        if measured is None
    ]
    missing.append("disturbed games and players without memory (the command moorelens evaluate does)")
    answer = f"This run did not measure {listed(missing, last='or')}."
    return Verdict(key="unmeasured", question="What is missing?", answer=answer, tables=(), level="unknown")
