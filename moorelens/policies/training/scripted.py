"""Hand-written teachers: a few rules on what the emulator's memory says of a game."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Actions = npt.NDArray[np.intp]
Probabilities = npt.NDArray[np.float32]


def certain(actions: npt.NDArray[np.intp], count: int) -> Probabilities:
    """Return 1 for the chosen actions (b,) and 0 for the others, (b, A)."""
    return np.eye(count, dtype=np.float32)[actions]


class BowlingTeacher:
    """Bowls from one height of the lane and bends the ball upwards once, two thirds down the lane.

    Byte 13 is the phase (0: the player walks, 5: the ball rolls), 40 the player's height, 30 the ball's place. A scan
    of heights and places of the bend found strikes at this height for a bend anywhere from 92 to 116. Measured with
    sticky actions: 220 a game.
    """

    _HEIGHT = 12
    _BEND = (106, 120)
    _NOTHING, _FIRE, _UP, _DOWN = range(4)

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return 1 for the action to take, (b, 4)."""
        now = rams[:, 0].astype(np.intp)
        height, ball = now[:, 40], now[:, 30]
        walk = np.where(height < self._HEIGHT, self._UP, np.where(height > self._HEIGHT, self._DOWN, self._FIRE))
        bends = (now[:, 13] == 5) & (ball >= self._BEND[0]) & (ball <= self._BEND[1])
        chosen = np.where(now[:, 13] == 0, walk, np.where(bends, self._UP, self._NOTHING))
        return certain(chosen, 4)


class ChopperCommandTeacher:
    """Hovers, turns its nose to the height of the nearest enemy ahead, fires all the time, and steps aside for bombs.

    Bytes 71 and 72 are the helicopter's place and height, 66 the side it faces (0: left). Of three lanes, 34-36 say
    what is in them (6-7 a plane, 8-11 a helicopter), 22-24 at which height, and 18-20 with 68 (the scroll) where
    across. 70 is where the bomb is, 94 and 95 the heights of its halves (240: none). It never flies forward: who rushes
    into the convoy is rammed (1 000 points a game instead of 12 000, measured with sticky actions).
    """

    _CLOSE = 3  # a shot at this difference of height still hits
    _SIDE, _NEAR = 16, 6  # how near a bomb is when it must be avoided, across and in height
    _SIGHT = 130
    _SCREEN = 160
    _FIRE, _UP, _DOWN, _COUNT = 1, 10, 13, 18

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return 1 for fire, up fire or down fire, (b, 18)."""
        now = rams[:, 0].astype(np.intp)
        here, height = now[:, 71:72], now[:, 72:73]
        across = (now[:, 18:21] + now[:, 68:69]) % self._SCREEN
        kind = now[:, 34:37]
        ahead = np.where(now[:, 66:67] > 0, across - here, here - across)
        target = (kind >= 6) & (kind <= 11) & (ahead > 0) & (ahead < self._SIGHT)
        lane = np.where(target, ahead, 999).argmin(axis=1)[:, None]
        climb = np.take_along_axis(now[:, 22:25], lane, axis=1)[:, 0] - height[:, 0]
        move = np.where(target.any(axis=1) & (np.abs(climb) > self._CLOSE), np.sign(climb), 0)
        bombs = now[:, 94:96]
        apart = bombs - height
        near = (bombs < 200) & (np.abs(now[:, 70:71] - here - 8) < self._SIDE) & (np.abs(apart) < self._NEAR)
        nearest = np.where(near, np.abs(apart), 999).argmin(axis=1)[:, None]
        away = np.where(np.take_along_axis(apart, nearest, axis=1)[:, 0] >= 0, -1, 1)
        move = np.where(near.any(axis=1), away, move)
        return certain(np.where(move > 0, self._UP, np.where(move < 0, self._DOWN, self._FIRE)), self._COUNT)


class BreakoutTeacher:
    """Brings the paddle under the place where the ball will be in three steps, while the ball comes down; else waits.

    Bytes 99 and 101 are the ball's place and height (0: none, so fire), 72 the paddle's left end. The paddle leaps 22
    pixels a press, of which 10 come a step later, so a press just made counts as done, and errors under 7 are left
    alone; near that limit, and the more so the higher the ball still is, pressing and waiting are nearly as good as
    each other. Measured with sticky actions: 219 a game; a teacher that follows the ball all the way to its landing
    scores 297 and is harder to see through from a frame.
    """

    _WALLS = (57, 199)
    _AHEAD = 3
    _LANDING, _BELOW = 178, 90  # heights, downwards: of the paddle, and from where on the ball is followed
    _SLACK, _SLIDE, _MIDDLE = 7, 10, 8

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return the probabilities of no-op, fire, right and left, (b, 4)."""
        seen = rams.astype(np.intp)
        place, height, paddle = seen[:, 0, 99], seen[:, 0, 101], seen[:, 0, 72]
        speed, fall = place - seen[:, 1, 99], height - seen[:, 1, 101]
        ball = (height > 0) & (seen[:, 1, 101] > 0)
        steps = np.minimum((self._LANDING - height) / np.maximum(fall, 1), self._AHEAD)
        left, right = self._WALLS
        folded = (place + speed * steps - left) % (2 * (right - left))
        meets = left + np.minimum(folded, 2 * (right - left) - folded)
        sliding = self._SLIDE * ((actions[:, 0] == 2).astype(np.intp) - (actions[:, 0] == 3))
        error = meets - paddle - sliding - self._MIDDLE
        softness = 2.0 + np.maximum(self._LANDING - height, 0) / 20.0
        follow = ball & (fall > 0) & (height > self._BELOW)
        press = np.where(follow, _sigmoid((error - self._SLACK) / softness), 0.0)
        back = np.where(follow, _sigmoid((-error - self._SLACK) / softness), 0.0)
        fire = np.where(ball, 0.0, 1.0)
        return np.column_stack([np.clip(1.0 - press - back - fire, 0.0, 1.0), fire, press, back]).astype(np.float32)


def _sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0))))


class SpaceInvadersTeacher:
    """Shoots from the gap between two columns, where bombs do not fall, and at the saucer as it passes.

    With one decision every four frames the bombs are never on the screen, so this teacher does not use them either.
    Byte 26 is where the first of six columns (16 apart) is, 18-23 the rows with a bit a column, 17 how many invaders
    are left, bit 1 of 24 the way they go, 28 the cannon's place, 30 the saucer's (180: none). Bombs fall from 4 to the
    right of a column and hit 1 to 8 to the right of the cannon, whose shots leave 5 to its right: moving right, a
    cannon 5 to the right of a column is missed by its bombs and hits it. Measured with sticky actions: 797 a game.
    """

    _COLUMNS, _APART = 6, 16
    _FEWEST = np.array([5, 11, 21])  # invaders left: the fewer, the faster
    _STAND = np.array([[5, -6], [5, -6], [4, -6], [5, -6]])  # from a column, as they go right and left, by speed
    _FIRE, _RIGHT, _LEFT = 1, 2, 3
    _GAP, _FLIGHT, _PATIENCE = 7, 17, 60

    def choose(self, rams: Bytes, actions: Actions) -> Probabilities:
        """Return 1 for fire, right or left, (b, 4)."""
        seen = rams.astype(np.intp)
        now, cannon = seen[:, 0], seen[:, 0, 28]
        present = np.bitwise_or.reduce(now[:, 18:24], axis=1)[:, None] >> np.arange(self._COLUMNS) & 1
        going_left = 1 - (now[:, 24] >> 1 & 1)
        stand = self._STAND[np.digitize(now[:, 17], self._FEWEST, right=True), going_left]
        places = now[:, 26:27] + self._APART * np.arange(self._COLUMNS) + stand[:, None]
        away = places - cannon[:, None]
        nearest = np.where(present == 1, np.abs(away), 999).argmin(axis=1)[:, None]
        chosen = self._go(np.take_along_axis(away, nearest, axis=1)[:, 0], slack=1, arrived=self._FIRE)
        return certain(self._saucer(seen, cannon, chosen), 4)

    def _go(self, away: npt.NDArray[np.intp], *, slack: int, arrived: int) -> npt.NDArray[np.intp]:
        return np.where(np.abs(away) <= slack, arrived, np.where(away > 0, self._RIGHT, self._LEFT))

    def _saucer(
        self, seen: npt.NDArray[np.intp], cannon: npt.NDArray[np.intp], otherwise: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.intp]:
        # Wait in the gap that the saucer will pass next, and fire when it is one flight of the shot away.
        saucer, columns = seen[:, 0, 30], seen[:, 0, 26:27]
        speed = saucer - seen[:, 1, 30]
        flies = (saucer < 156) & (np.abs(speed) == 1)
        aim = saucer + self._FLIGHT * speed - 3
        gaps = columns + self._APART * np.arange(-3, 9) + self._GAP
        wait = (gaps - aim[:, None]) * speed[:, None]
        far = np.abs(gaps - cannon[:, None])
        able = (gaps >= 36) & (gaps <= 117) & (wait >= -2) & (wait <= self._PATIENCE) & (far / 2 <= wait + 4)
        best = np.where(able, far, 999).argmin(axis=1)[:, None]
        away = np.take_along_axis(gaps, best, axis=1)[:, 0] - cannon
        fire = np.where(np.abs(aim - cannon) <= 3, self._FIRE, 0)
        move = np.where(np.abs(away) <= 2, fire, np.where(away > 0, self._RIGHT, self._LEFT))
        return np.where(flies & able.any(axis=1), move, otherwise)
