"""What the commands on a run say on the terminal; at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from moorelens.cli.printing import plain
from moorelens.reports.evaluation import Condition, Evaluation, PlayerResult, Rival
from moorelens.reports.format import count, number, plural, share, span
from moorelens.reports.pruning import EffectRow, Pruning
from moorelens.reports.summary import Score

WIDTH = 80
_ROWS = 14  # steps of a counterexample that are shown


def evaluation_lines(found: Evaluation) -> list[str]:
    """Return every player under every condition, the rivals, and what follows for memory."""
    lines = [f"{found.policy} in {found.env}, {len(found.seeds)} games a player"]
    for condition in found.conditions:
        lines += ["", *_condition(condition)]
    if found.rivals:
        lines += ["", f"{'against':<31}{'machine gains':>14}  {'95 % interval':<19} policy gains"]
        lines += [_rival(rival) for rival in found.rivals]
        lines += ["", *textwrap.wrap(found.finding, WIDTH)]
    return [plain(line).rstrip() for line in lines]


def check_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the verdict on a property, and the steps of the shortest episode that breaks it."""
    games = plural(found["episodes"], "recorded episode")
    broken = f"breaks in {count(found['fails'])} of {games}"
    lines = [*textwrap.wrap(found["meaning"], WIDTH), f"holds in {games}" if found["holds"] else broken]
    if found["cut_off"]:
        lines.append(f"undecided in {count(found['cut_off'])} of them, which a time limit cut off")
    breach = found["counterexample"]
    if breach is not None:
        span_of = f"steps {breach['since']} to {breach['steps'] - 1}"
        lines += ["", f"shortest: episode {breach['episode']} (seed {breach['seed']}), {span_of}"]
        lines.append(f"{'t':>6}  {'symbol':<8}{'state':<8}{'action':<20}{'reward':>8}")
        rows = [
            f"{row['t']:>6}  {row['symbol']:<8}{row['state']:<8}{row['action'][:19]:<20}{number(row['reward']):>8}"
            for row in breach["shown"]
        ]
        lines += rows if len(rows) <= _ROWS else [*rows[:3], f"{'...':>6}", *rows[3 - _ROWS :]]
    return [plain(line) for line in lines]


def pruning_lines(found: Pruning) -> list[str]:
    """Return what was taken away, what that costs on both kinds of games, and what each decision is worth."""
    accepted, held_out = sum(trial.accepted for trial in found.trials), found.held_out
    allowed = f"at most {number(found.tolerance)} of return may be lost"
    lines = [
        f"{found.policy} in {found.env}: {found.decisions[0]} decisions, {found.decisions[1]} after pruning; {allowed}",
        f"{accepted} of {plural(len(found.trials), 'candidate')} accepted; {found.states[0]} states, "
        f"{found.states[1]} after pruning",
        "",
        f"{'':26}{'machine':>9}{'pruned':>9}{'cost':>8}  95 % interval",
        _costs(f"{count(found.cost.n)} pruning games", found.machine, found.pruned, found.cost),
        _costs(f"{count(held_out.cost.n)} held-out games", held_out.machine, held_out.pruned, held_out.cost),
    ]
    lines += _doubt(found)
    if found.effects:
        stays = {trial.state: trial.target for trial in found.trials if trial.accepted and trial.state is not None}
        lines += ["", f"{'decision':<10}{'always to':<11}{'taken':>8}{'cost':>9}  {'95 % interval':<20}after pruning"]
        for row in found.effects:
            state, target = f"S{row.state}", f"S{row.target}"
            cost = f"{number(row.cost.mean):>9}  {_interval(row.cost):<20}"
            lines.append(f"{state:<10}{target:<11}{share(row.share):>8}{cost}{_fate(row, stays.get(row.state))}")
    wrapped = [part for line in lines for part in ([line] if "  " in line else textwrap.wrap(line, WIDTH) or [""])]
    return [plain(line).rstrip() for line in wrapped]


def _doubt(found: Pruning) -> list[str]:
    """Return what to think of a cost on held-out games that may be more than was allowed."""
    cost = found.held_out.cost
    worst = cost.mean if cost.high is None else cost.high
    if worst <= found.tolerance:
        return []
    words = "was lost" if cost.mean > found.tolerance else "may be lost"
    most = cost.mean if cost.mean > found.tolerance else worst
    return [
        "",
        f"Careful: on held-out games up to {number(most)} of return {words}, more than the {number(found.tolerance)} "
        "allowed; more --games would choose better, a smaller --tolerance prunes less.",
    ]


def _fate(row: EffectRow, stays: int | None) -> str:
    """Return what became of a branch: its state decides still, goes this way always, or goes another."""
    if row.kept:
        return "decides still"
    if stays is None:
        return "decides no more"
    return "always this" if row.target == stays else f"always S{stays}"


def _costs(title: str, machine: Score, pruned: Score, cost: Score) -> str:
    return f"{title:<26}{number(machine.mean):>9}{number(pruned.mean):>9}{number(cost.mean):>8}  {_interval(cost)}"


def _condition(condition: Condition) -> list[str]:
    lines = textwrap.wrap(f"{condition.title}: {condition.detail}", WIDTH)
    if condition.copies:
        lines.append(f"{condition.copies} that replay a fit game, shifted in time, are left out")
    lines.append(f"{'':31}{'return':>9}  {'95 % interval':<18} {'loss':>8}  gaps")
    return lines + [_player(player) for player in condition.players]


def _player(player: PlayerResult) -> str:
    name = player.title if player.fallback is None else f"{player.title} ({player.fallback})"
    loss = "" if player.loss is None else number(player.loss.mean)
    missed = None if player.unseen is None or player.undefined is None else player.unseen + player.undefined
    told = "" if missed is None else share(missed)
    return f"{name[:30]:<31}{number(player.score.mean):>9}  {_interval(player.score):<18} {loss:>8}  {told}"


def _rival(rival: Rival) -> str:
    gain = number(rival.gain.mean)
    return f"{rival.title[:30]:<31}{gain:>14}  {_interval(rival.gain):<19} {number(rival.policy_gain.mean):>12}"


def _interval(score: Score) -> str:
    return f"{count(score.n)} game" if score.low is None else span(score.low, score.high)
