"""Work items, e.g. one recording each, in parallel: in worker processes of this machine, or on a Ray cluster."""

from depth_ros.parallel.items import Executor, Outcome, WorkItem
from depth_ros.parallel.processes import WorkerProcesses, processor_count
from depth_ros.parallel.ray_cluster import RayCluster

__all__ = ["Executor", "Outcome", "RayCluster", "WorkItem", "WorkerProcesses", "processor_count"]
