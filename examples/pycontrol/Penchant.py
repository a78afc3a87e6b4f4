# mypy: ignore-errors
"""For pyControl's ``api_classes`` folder: all else is in the package ``penchant``."""

from source.gui.api import Api

from subject_clients.rig.pycontrol_api import PenchantApi


class Penchant(PenchantApi, Api):
    """Runs sessions of the rig that this file describes."""

    rig_file = "C:/rigs/box-3.toml"  # yours
