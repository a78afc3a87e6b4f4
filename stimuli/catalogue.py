"""Every stimulus space by its name in a study file."""

from stimuli.circle import Circle
from stimuli.hypercube import Hypercube
from stimuli.images import Images
from stimuli.phase_difference import PhaseDifference
from stimuli.recorded import Recorded
from stimuli.space import StimulusSpace
from stimuli.sphere import Sphere
from stimuli.table import Table

SPACES: dict[str, type[StimulusSpace]] = {
    "circle": Circle,
    "sphere": Sphere,
    "hypercube": Hypercube,
    "table": Table,
    "recorded": Recorded,
    "images": Images,
    "phase_difference": PhaseDifference,
}
