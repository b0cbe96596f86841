"""What can be planted on text."""

from __future__ import annotations

from hpo_bench.tasks.planted import PlantedHarm, PlantedNoise, PlantedOracle
from hpo_bench.tasks.text.objectives.base import Objective


class Noise(PlantedNoise, Objective):
    __doc__ = PlantedNoise.__doc__
    stream = 7


class Harm(PlantedHarm, Objective):
    __doc__ = PlantedHarm.__doc__


class Oracle(PlantedOracle, Objective):
    __doc__ = PlantedOracle.__doc__
