"""Where and how large things are: angles, contours and units, as plain numbers."""

import math
from typing import NamedTuple

Point = tuple[float, float]

LOBES = ((0, 2), (1, 3), (2, 5))
"""Which parameter of a blob goes with which number of lobes."""

DEPTH = 0.25
"""How much of its radius a parameter of 1 adds to a blob."""

BIGGEST_BLOB = 1 + DEPTH * math.sqrt(3)
"""Its radius at most, in mean radii, for parameters on the unit sphere."""

NORM_HEIGHT_DEG = 20.0
"""What the height of a window counts as where units are ``norm``."""

PX_PER_DEG = 40.0
"""What a degree counts as where units are ``px``."""


def psychopy_ori(angle_deg: float) -> float:
    """PsychoPy's ``ori``, clockwise from upright, of an angle counter-clockwise.

    ``angle_deg`` counts from horizontal, as those of the stimulus spaces.
    """
    return (90.0 - angle_deg) % 360.0


def on_ring(direction_deg: float, radius: float) -> Point:
    """The place on a ring at an angle counter-clockwise from the right."""
    angle = math.radians(direction_deg)
    return radius * math.cos(angle), radius * math.sin(angle)


def blob(parameters: list[float], radius: float, points: int = 240) -> list[Point]:
    """A closed contour whose shape is a point on the sphere.

    Its radius at the angle phi is ``radius (1 + sum_i parameters_i cos(k_i phi) / 4)``
    with 2, 3 and 5 lobes k. Cosines are orthogonal, so the root mean square distance
    of two contours is proportional to that of their parameters.
    """
    contour = []
    for step in range(points):
        phi = 2 * math.pi * step / points
        waves = sum(parameters[i] * math.cos(k * phi) for i, k in LOBES)
        r = radius * (1 + DEPTH * waves)
        contour.append((r * math.cos(phi), r * math.sin(phi)))
    return contour


def px_per_degree(width_px: float, width_cm: float, distance_cm: float) -> float:
    """Pixels in a degree at the middle of a flat screen."""
    return width_px / width_cm * distance_cm * math.tan(math.radians(1))


class Layout(NamedTuple):
    """Places in a window, in pixels from its centre."""

    width: float
    height: float

    @property
    def unit(self) -> float:
        """What sizes of letters and gaps are shares of."""
        return min(self.height, self.width * 0.75)

    @property
    def scale_y(self) -> float:
        """Height of the scale, or of the two sides."""
        return -0.36 * self.height

    @property
    def scale_half(self) -> float:
        """Half the length of the scale."""
        return 0.36 * self.unit

    @property
    def roomy_radius(self) -> float:
        """The largest radius that leaves the scale and its marks free."""
        return min(0.28 * self.height, 0.48 * self.width)


def fits(radius_px: float, size_deg: float, layout: Layout) -> None:
    """Raise ``ValueError`` for stimuli that would cover the scale."""
    if radius_px > layout.roomy_radius:
        most = size_deg * layout.roomy_radius / radius_px
        raise ValueError(
            f"stimuli of size_deg = {size_deg:g} are too large for this window: "
            f"expected at most {most:.1f}. Sit nearer, take a larger window, or lower "
            "size_deg in the study file's section [human]"
        )


def value_at(x_px: float, half_px: float) -> float:
    """The answer, in [-1, 1], at a place on the scale."""
    return min(max(x_px / half_px, -1.0), 1.0)
