"""Every simulated subject by its name in a study file."""

from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.ridge import Ridge

LEARNERS: dict[str, type[Learner]] = {
    "ridge": Ridge,
    "kernel_ridge": KernelRidge,
}
