"""The Pong teacher: looks a few decisions ahead with the paddle's law of motion, and knows which returns win.

python -m moorelens.policies.training.pong pong_teacher.safetensors measures anew which returns win.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save

from moorelens.policies.training.atari_vec import AtariVecEnv
from moorelens.policies.training.config import training_request
from moorelens.policies.training.views import PAST
from moorelens.runs.atomic import write_atomic

Bytes = npt.NDArray[np.uint8]
Actions = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.intp]
Cell = tuple[int, int, int]

VALUES = Path(__file__).parent / "pong_teacher.safetensors"
SPEEDS, BANDS = 4, 5
HEIGHTS = np.array([60, 76, 84, 96, 106, 124, 132, 150, 168, 180, 192])  # where the heights of a contact are divided
_WALLS = (44, 207)
_PADDLE = 188  # across: the ball is returned in the frame after it came here
_STICK, _READ = (13.0, 204.0), 38.0  # how far the stick goes, and the least that is read of it
_TURN = 5.8  # what a frame of an action moves the stick
_ENDS = (-2, 16)  # of the paddle, from its byte to that of the ball
_EDGES = np.array([1, 5, 9, 13])  # between the places that send the ball away at -2, -1, 0, 1 and 2 down a frame
_REACH, _FRAMES = 48, 18  # how far, and for how many frames, aims are worked out
_LATE = np.array([0.75, 0.1875, 0.046875, 0.01171875, 0.00390625], dtype=np.float32)  # frames of the action before
_MISSED, _DISTANCE = -1.0, 0.004
_BLUR = np.array([1, 4, 6, 4, 1]) / 16
_SURE = 0.05  # differences of value that make an action e times as likely
_WAITS = 0.15
_FADE, _LONGEST = 0.92, 8


class Rally:
    """What the memories (b, 5, 128) say of the ball and the paddle, and where and when the two will meet."""

    def __init__(self, rams: Bytes, actions: Actions) -> None:
        """Read bytes 49 and 54 (ball, across and down), 58 and 56 (its speed) and 51 (the paddle)."""
        now = rams[:, 0].astype(np.intp)
        self.x, self.y, self.paddle = now[:, 49], now[:, 54], now[:, 51]
        self.across, self.down = -_signed(now[:, 58]), _signed(now[:, 56])
        self.live = (self.x > 0) & (self.y > 0) & (rams[:, 1, 54] > 0)
        self.coming = self.live & (self.across > 0) & (self.x < _PADDLE + 4)
        ahead = -((self.x - _PADDLE) // np.maximum(self.across, 1))
        self.frames = np.where(self.coming, np.maximum(ahead, 0), 0)
        low, high = _WALLS
        folded = (self.y + self.down * self.frames - low) % (2 * (high - low))
        self.meets = low + np.minimum(folded, 2 * (high - low) - folded)
        self.stick = np.rint(_stick(rams[:, :PAST, 51].astype(np.float64), actions)).astype(np.intp)


def _height(y: int) -> int:
    return int(np.digitize(y, HEIGHTS))


def _signed(numbers: Whole) -> Whole:
    return np.where(numbers > 127, numbers - 256, numbers)


def _stick(paddle: npt.NDArray[np.float64], actions: Actions) -> npt.NDArray[np.float64]:
    """Return where the stick points, from the paddle's last places (b, 5) and the actions between them (b, 4).

    How many frames the action came late is what fits the paddle's place best. The oldest step is taken as on time.
    """
    turns = np.array([0.0, -_TURN, _TURN])[actions]
    stick = (4 * paddle[:, -2] - paddle[:, -1] + 5 * turns[:, -1]) / 3
    late = np.arange(4)[:, None]
    for k in range(PAST - 3, -1, -1):
        frames = [np.where(late > frame, turns[:, k + 1], turns[:, k]) for frame in range(3)]
        first = stick + frames[0]
        third = first + frames[1] + frames[2]
        soon = (paddle[:, k + 1] + np.maximum(first, _READ)) / 2
        wrong = paddle[:, k] + 0.4 - (soon + np.maximum(third, _READ)) / 2
        best = (wrong**2 / 2 - np.log(_LATE[:4, None])).argmin(axis=0)[None]
        wrong, third = np.take_along_axis(wrong, best, axis=0)[0], np.take_along_axis(third, best, axis=0)[0]
        seen = third > _READ
        stick = np.clip(third + turns[:, k] + np.where(seen, np.clip(wrong, -8.0, 8.0), 0.0), *_STICK)
    return np.asarray(stick)


class PongTeacher:
    """Plans where the ball meets the paddle, which decides its way back, and aims where the return is known to win.

    The stick moves by 6 a frame, and every second frame the paddle goes half of the way to it; one frame in four
    repeats the action before. So the chances of every place of the paddle at the ball's arrival follow, for every
    action, by dynamic programming over the last 18 frames. Where the ball lands on the paddle says at which of five
    slopes it leaves, and a pressed button makes it faster. What a return is worth (`values`: 1 a point won, -1 one
    lost, by its speed, slope and height) was measured over rallies of this teacher itself. With sticky actions it wins
    by 20.1 points a game; PPO on the same bytes stayed at 15.
    """

    shown = (7, 9, 10)  # of the notes: the paddle, and the ball's two places

    def __init__(self, values: npt.NDArray[np.float32] | None = None) -> None:
        """Take the worth of returns (4 speeds, 5 slopes, 12 heights); None for what was measured."""
        self._values = load_file(VALUES)["values"] if values is None else values
        self._futures = _futures()
        self._known: dict[tuple[int, int], npt.NDArray[np.float16]] = {}

    def choose(self, rams: Bytes, actions: Actions) -> Floats:
        """Return the probabilities of no-op, up and down, (b, 3)."""
        worth = self.worths(Rally(rams, actions), actions)
        weights = np.exp((worth - worth.max(axis=1, keepdims=True)) / _SURE)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)

    def tell(self, rams: Bytes, actions: Actions) -> Floats:
        """Return what the plan is made from, (b, 14), in units in which a difference that matters is about 0.2."""
        seen = Rally(rams, actions)
        far = np.where(seen.coming, seen.meets, 125)
        columns = [seen.coming, seen.live, np.minimum(seen.frames, 90) / 15, np.minimum(seen.frames, 16) / 4]
        columns += [(far - seen.paddle) / 10, (far - seen.stick) / 10, (seen.stick - seen.paddle) / 8]
        columns += [(seen.paddle - 125) / 30, (far - 125) / 30, np.where(seen.live, seen.y - 125, 0) / 30]
        columns += [np.where(seen.live, seen.x - 128, 0) / 30, seen.across, seen.down, actions[:, 0] > 0]
        return np.column_stack(columns).astype(np.float32)

    def worths(self, seen: Rally, actions: Actions) -> Floats:
        """Return what each action is worth, (b, 3), in points."""
        worth = np.tile(np.array([_WAITS, 0.0, 0.0], dtype=np.float32), (len(actions), 1))
        gap, lag = seen.paddle - seen.meets, seen.stick - seen.meets
        near = (seen.frames <= _FRAMES) & (np.maximum(np.abs(gap), np.abs(lag)) < _REACH - 1)
        # Far away it is enough to go to where the ball will be, by and by.
        away = -6 - lag
        goes = seen.coming & ~near & (np.abs(away) > np.where(seen.frames < 60, 12, 40))
        # A fast ball comes back before the paddle could cross the field: wait for it in the middle.
        middle = 125 - seen.stick
        back = seen.live & (seen.across < -2) & (np.abs(middle) > 30)
        worth[goes, np.where(away[goes] > 0, 2, 1)] = 2 * _WAITS
        worth[back, np.where(middle[back] > 0, 2, 1)] = 2 * _WAITS
        for row in np.flatnonzero(seen.coming & near):
            speed = min(int(seen.across[row]), SPEEDS)
            plan = self._plan(speed, _height(seen.meets[row]))
            worth[row] = plan[seen.frames[row], gap[row] + _REACH, lag[row] + _REACH, actions[row, 0]]
        worth[:, 1] -= seen.stick < _READ + 12  # the paddle is at the top already
        return worth

    def _plan(self, speed: int, height: int) -> npt.NDArray[np.float16]:
        # (frames left, gap, lag, action before, action): kept, because a few dozen serve for all games.
        if (speed, height) not in self._known:
            self._known[speed, height] = _planned(self._gains(speed, height), self._futures)
        return self._known[speed, height]

    def _gains(self, speed: int, height: int) -> Floats:
        # (pressed or not, gap) at the contact; places are of the ball on the paddle.
        places = -np.arange(-_REACH, _REACH + 1)
        outside = np.maximum(np.maximum(_ENDS[0] - places, places - _ENDS[1]), 0)
        gains = []
        for pressed in (0, 1):
            returned = self._values[min(speed + pressed, SPEEDS) - 1, :, height][np.digitize(places, _EDGES)]
            gain = np.where(outside > 0, _MISSED - _DISTANCE * outside, returned)
            # Where exactly the paddle will be is never known.
            gains.append(np.convolve(np.pad(gain, _BLUR.size // 2, mode="edge"), _BLUR, mode="valid"))
        return np.stack(gains).astype(np.float32)


def _planned(gains: Floats, futures: list[tuple[Whole, ...]]) -> npt.NDArray[np.float16]:
    """Return the worth of actions by dynamic programming from `gains` (pressed or not, gap) at the contact."""
    worth: list[Floats] = []
    for frames in range(_FRAMES + 1):
        mean: Floats = np.zeros((), dtype=np.float32)
        for chance, future in zip(_LATE, futures, strict=True):
            gap, soon, later, lag, last = future[:5]
            if frames < 4:
                value = gains[future[5 + frames], gap if frames < 2 else soon]
            else:
                value = worth[frames - 4].max(axis=-1)[later, lag, last]
            mean = mean + chance * value
        worth.append(mean)
    return np.stack(worth).astype(np.float16)


def _futures() -> list[tuple[Whole, ...]]:
    """Return, for each number of frames that an action comes late, what follows from (gap, lag, action before, action).

    Gap now, after two frames and after four, lag after four, the action then under way, and whether the button is down
    in each of the four frames.
    """
    size, moves = 2 * _REACH + 1, np.array([0, -1, 1])
    gap, lag, before, action = np.ix_(*(np.arange(-_REACH, _REACH + 1),) * 2, np.arange(3), np.arange(3))
    full = (size, size, 3, 3)
    futures = []
    for late in range(5):
        held = [before if frame < late else action for frame in range(4)]
        turned = np.cumsum([np.broadcast_to(moves[taken], (1, 1, 3, 3)) for taken in held], axis=0)
        turned = np.rint(_TURN * turned).astype(np.intp)
        soon = (gap + lag + turned[0]) // 2
        later = (soon + lag + turned[2]) // 2
        places = [np.clip(x, -_REACH, _REACH) + _REACH for x in (gap, soon, later, lag + turned[3])]
        rest = [before if late == 4 else action, *((taken > 0).astype(np.intp) for taken in held)]
        futures.append(tuple(np.broadcast_to(x, full) for x in [*places, *rest]))
    return futures


def measure(*, rounds: int = 3, steps: int = 3000, games: int = 16, seed: int = 0) -> Floats:
    """Return what returns are worth, (4 speeds, 5 slopes, 12 heights), from rallies of better and better teachers.

    A rally won or lost is worth 1 or -1 to its last return, and `_FADE` times as much to each one before; one that goes
    on and on is worth what is known of its eighth next. Half of what a round saw is forgotten in the next.
    """
    worth: Floats = np.full((SPEEDS, BANDS, len(HEIGHTS) + 1), 0.5, dtype=np.float32)
    worth[:, [0, -1]] = 0.8  # hope, so that the steep returns are tried
    prior, sums, counts = worth.copy(), np.zeros(worth.shape), np.zeros(worth.shape)
    for number in range(rounds):
        sums, counts = sums / 2, counts / 2
        first = 10_000_000 * (seed + 1) + 1000 * number
        for cell, outcome in _rallies(PongTeacher(worth), range(first, first + games), steps):
            sums[cell] += worth[outcome] * _FADE**_LONGEST if isinstance(outcome, tuple) else outcome
            counts[cell] += 1
        worth = ((sums + 4 * prior) / (counts + 4)).astype(np.float32)
    return worth.round(2)


def _rallies(teacher: PongTeacher, seeds: range, steps: int) -> list[tuple[Cell, Cell | float]]:
    """Play, and return for each of the teacher's returns what it was and what came of it."""
    games = AtariVecEnv(training_request("ALE/Pong-v5"), len(seeds), first_seed=seeds[0], frames=False)
    games.reset()
    rows = np.arange(len(seeds))
    rams, past = np.repeat(games.rams(rows)[:, None], PAST, axis=1), np.zeros((len(seeds), PAST - 1), dtype=np.intp)
    rallies: list[list[Cell]] = [[] for _ in seeds]
    found: list[tuple[Cell, Cell | float]] = []
    for _ in range(steps):
        before, actions = Rally(rams, past), teacher.choose(rams, past).argmax(axis=1)
        games.step_async(actions)
        rewards = games.step_wait()[1]
        past = np.concatenate([actions[:, None], past[:, :-1]], axis=1)
        rams = np.concatenate([games.rams(rows)[:, None], rams[:, :-1]], axis=1)
        after = Rally(rams, past)
        returned = before.coming & after.live & (after.across < 0) & (after.x > 130)
        for row, rally in enumerate(rallies):
            if returned[row]:
                slope = int(np.clip(after.down[row], -2, 2)) + 2
                rally.append((min(-int(after.across[row]), SPEEDS) - 1, slope, _height(before.meets[row])))
            if len(rally) > _LONGEST:
                found.append((rally.pop(0), rally[-1]))
            if rewards[row]:
                found += [(cell, float(rewards[row]) * _FADE**k) for k, cell in enumerate(reversed(rally))]
                rally.clear()
    return found


if __name__ == "__main__":
    write_atomic(Path(sys.argv[1]), save({"values": measure()}))
