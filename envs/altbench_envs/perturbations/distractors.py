"""Things on the table that have nothing to do with the task.

They are drawn but not simulated: nothing can be knocked over, and an arm moves through
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from altbench.api import Float64
from altbench_envs.perturbations.scene import VisualPerturbation
from altbench_envs.robosuite_env.rendering import Decoration
from altbench_envs.robosuite_env.visuals import Top, Visuals

HOW_MANY = (0, 1, 2, 4, 6, 9)
CLEARANCE = 0.12  # m, between a distractor's centre and the way from a gripper to an object
REACH = 1.5  # m: robosuite puts objects that a task does not use further away than that
APART = 0.09  # m, between two distractors' centres
MARGIN = 0.05  # m, to the edge of the table
ATTEMPTS = 500
SPHERE, CYLINDER, BOX = 2, 5, 6  # mujoco's mjtGeom
COLOURS = (
    (0.10, 0.35, 0.70),
    (0.95, 0.75, 0.10),
    (0.15, 0.55, 0.25),
    (0.85, 0.40, 0.10),
    (0.45, 0.20, 0.55),
    (0.30, 0.65, 0.75),
    (0.55, 0.35, 0.20),
)
METAL, WHITE = (0.75, 0.75, 0.78), (0.95, 0.95, 0.93)

Part = tuple[int, tuple[float, float, float], float, tuple[float, float, float]]
"""mujoco's shape, its size, the height of its centre over the table (m), its colour."""
Colour = tuple[float, float, float]


class Distractors(VisualPerturbation):
    """1 to 9 cartons, tins, balls, bottles and cups on the table.

    They stand clear of the ways from grippers to objects.
    """

    name = "distractors"

    def _change(self, visuals: Visuals, rng: np.random.Generator, cameras: Sequence[str]) -> None:
        del cameras
        tops = [visuals.top(geom) for geom in self._need(visuals.surfaces(), "table to put things on")]
        objects, grippers = visuals.positions(visuals.objects()), visuals.grip_sites()
        ways = [(g[:2], o[:2]) for g in grippers for o in objects if np.linalg.norm(o - g) < REACH]
        for spot in _spots(tops, ways, HOW_MANY[self.severity], rng):
            visuals.decorations.extend(_thing(spot, rng))


def _spots(
    tops: Sequence[Top], ways: Sequence[tuple[Float64, Float64]], count: int, rng: np.random.Generator
) -> Iterator[Float64]:
    """Yield up to `count` places (3,) on the tops, clear of the ways and of each other.

    A lower count gives the first of them. All attempts are drawn at once: so a thing's
    place does not depend on the shapes and colours of the things before it.
    """
    areas = np.array([np.prod(top.half) for top in tops])
    which = rng.choice(len(tops), ATTEMPTS, p=areas / areas.sum())
    sides = rng.uniform(-1.0, 1.0, (ATTEMPTS, 2))
    taken: list[Float64] = []
    for top, side in zip((tops[i] for i in which), sides, strict=True):
        spot = top.centre.copy()
        spot[:2] += (side * np.maximum(top.half - MARGIN, 0.0)) @ top.axes
        clear = all(_distance(spot[:2], *way) > CLEARANCE for way in ways)
        if clear and all(np.linalg.norm(spot - other) > APART for other in taken):
            taken.append(spot)
            if len(taken) == count:
                break
    yield from taken


def _distance(point: Float64, start: Float64, end: Float64) -> float:
    """Return the distance from a point to a segment, all (2,)."""
    along = end - start
    share = np.clip(np.dot(point - start, along) / max(float(np.dot(along, along)), 1e-12), 0.0, 1.0)
    return float(np.linalg.norm(point - (start + share * along)))


def _thing(spot: Float64, rng: np.random.Generator) -> list[Decoration]:
    """Make something at `spot`; kind, colour, size and turn are drawn from `rng`."""
    kind, colour = KINDS[int(rng.integers(len(KINDS)))], COLOURS[int(rng.integers(len(COLOURS)))]
    scale, yaw = rng.uniform(0.85, 1.15), rng.uniform(-np.pi, np.pi)
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    made = []
    for shape, size, height, rgb in kind(colour):
        x, y, z = spot + np.array([0.0, 0.0, scale * height])
        half = tuple(scale * s for s in size)
        made.append(Decoration(shape, (half[0], half[1], half[2]), (x, y, z), turn, (*rgb, 1.0)))
    return made


def _carton(colour: Colour) -> list[Part]:
    return [(BOX, (0.035, 0.02, 0.05), 0.05, colour), (BOX, (0.0355, 0.0205, 0.012), 0.06, WHITE)]


def _tin(colour: Colour) -> list[Part]:
    return [(CYLINDER, (0.03, 0.04, 0.0), 0.04, colour), (CYLINDER, (0.027, 0.002, 0.0), 0.082, METAL)]


def _ball(colour: Colour) -> list[Part]:
    return [(SPHERE, (0.03, 0.03, 0.03), 0.03, colour)]


def _bottle(colour: Colour) -> list[Part]:
    body: Part = (CYLINDER, (0.025, 0.05, 0.0), 0.05, colour)
    return [body, (SPHERE, (0.025, 0.025, 0.025), 0.1, colour), (CYLINDER, (0.01, 0.02, 0.0), 0.135, WHITE)]


def _cup(colour: Colour) -> list[Part]:
    inside = (0.25 * colour[0], 0.25 * colour[1], 0.25 * colour[2])
    return [(CYLINDER, (0.035, 0.035, 0.0), 0.035, colour), (CYLINDER, (0.03, 0.001, 0.0), 0.0705, inside)]


KINDS: tuple[Callable[[Colour], list[Part]], ...] = (_carton, _tin, _ball, _bottle, _cup)
