"""Services of odometry_node, named as in rtabmap_ros: reset_odom, pause_odom, resume_odom."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleState, ManagedEntity, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.service import Service
from std_srvs.srv import Trigger


class OdometryServices(ManagedEntity):
    """The services of `node`, which exist while it is configured.

    on_reset, on_resume: called by the services. on_pause: likewise; frames are then to be ignored.
    """

    def __init__(
        self, node: Node, on_reset: Callable[[], None], on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:  # fmt: skip
        self._node = node
        self._on_reset, self._on_pause, self._on_resume = on_reset, on_pause, on_resume
        self._services: list[Service] = []
        self.is_paused = False

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._services = [
            self._node.create_service(Trigger, "reset_odom", self._reset),
            self._node.create_service(Trigger, "pause_odom", self._pause),
            self._node.create_service(Trigger, "resume_odom", self._resume),
        ]
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        for service in self._services:
            self._node.destroy_service(service)
        self._services = []
        return TransitionCallbackReturn.SUCCESS

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._on_reset()
        response.success, response.message = True, "odometry restarts at its initial pose"
        return response

    def _pause(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.is_paused = True
        self._on_pause()
        response.success, response.message = True, "paused: frames are ignored until resume_odom is called"
        return response

    def _resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.is_paused
        response.message = (
            "odometry restarts at its last pose" if self.is_paused else "odometry was not paused"
        )
        if self.is_paused:
            self.is_paused = False
            self._on_resume()
        return response
