"""Every simulated subject by its name in a study file."""

from simulated_subjects.convolutional_network import ConvolutionalNetwork
from simulated_subjects.fourier_ridge import FourierRidge
from simulated_subjects.kernel_ridge import KernelRidge
from simulated_subjects.learner import Learner
from simulated_subjects.mushroom_body import MushroomBody
from simulated_subjects.procedural import Procedural
from simulated_subjects.relu_network import ReluNetwork
from simulated_subjects.ridge import Ridge
from simulated_subjects.spiking_network import SpikingNetwork
from simulated_subjects.unteachable import Unteachable

LEARNERS: dict[str, type[Learner]] = {
    "ridge": Ridge,
    "kernel_ridge": KernelRidge,
    "fourier_ridge": FourierRidge,
    "relu_network": ReluNetwork,
    "convolutional_network": ConvolutionalNetwork,
    "mushroom_body": MushroomBody,
    "spiking_network": SpikingNetwork,
    "procedural": Procedural,
    "unteachable": Unteachable,
}
