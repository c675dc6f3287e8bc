"""Who works on a sweep. An engine starts claim workers on one folder; the folder alone knows what is done."""

from jaxgpt.lab.workers.engines.engine import FAILED, LOST, Crew, Engine, worker_command
from jaxgpt.lab.workers.engines.here import Here
from jaxgpt.lab.workers.engines.processes import Processes
from jaxgpt.lab.workers.engines.ray import Ray
from jaxgpt.lab.workers.engines.slurm import Slurm

__all__ = ["FAILED", "LOST", "Crew", "Engine", "Here", "Processes", "Ray", "Slurm", "worker_command"]
