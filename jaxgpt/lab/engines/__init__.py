"""Who works on a sweep. An engine starts claim workers on one folder; the folder alone knows what is done."""

from jaxgpt.lab.engines.engine import FAILED, LOST, Crew, Engine, worker_command
from jaxgpt.lab.engines.here import Here
from jaxgpt.lab.engines.processes import Processes
from jaxgpt.lab.engines.ray import Ray
from jaxgpt.lab.engines.slurm import Slurm

__all__ = ["FAILED", "LOST", "Crew", "Engine", "Here", "Processes", "Ray", "Slurm", "worker_command"]
