"""A stand-in for the part of tf2_ros that depth_ros uses, for machines without it: it is not among the wheels of ROS 2.

Names, arguments, topics, QoS and exceptions are those of tf2_ros; the messages go over DDS. Not stood in for:
interpolation between two transforms (the nearer one is taken), and the limited length of the buffer.
"""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from depth_ros.geometry import inverse, pose_from
from depth_ros.messages.decode import stamp_ns
from depth_ros.messages.fill import fill_header, fill_transform


class TransformException(Exception):
    pass


class LookupException(TransformException):
    pass


class ConnectivityException(TransformException):
    pass


class ExtrapolationException(TransformException):
    pass


class TransformBroadcaster:
    def __init__(self, node, qos=None):
        self.pub_tf = node.create_publisher(TFMessage, "/tf", qos or QoSProfile(depth=100))

    def sendTransform(self, transform):
        transforms = transform if isinstance(transform, list) else [transform]
        self.pub_tf.publish(TFMessage(transforms=transforms))


class Buffer:
    def __init__(self, cache_time=None, node=None):
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._transforms: dict[
            str, dict[int | None, np.ndarray]
        ] = {}  # child -> stamp (None: static) -> T_parent_child

    def set_transform(self, transform, authority):
        self._set(transform, stamp_ns(transform.header))

    def set_transform_static(self, transform, authority):
        self._set(transform, None)

    def _set(self, transform, stamp):
        t, q = transform.transform.translation, transform.transform.rotation
        T = pose_from(np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w]))
        with self._lock:
            self._parents[transform.child_frame_id] = transform.header.frame_id
            self._transforms.setdefault(transform.child_frame_id, {})[stamp] = T

    def lookup_transform(self, target_frame, source_frame, time, timeout=None):
        with self._lock:
            known = {*self._parents, *self._parents.values()}
            for frame in (target_frame, source_frame):
                if frame not in known:
                    raise LookupException(f'"{frame}" does not exist')
            target, source = (self._chain(frame, time.nanoseconds) for frame in (target_frame, source_frame))
        root = next((frame for frame in target if frame in source), None)
        if root is None:
            raise ConnectivityException(f"{target_frame} and {source_frame} are not connected")
        result = TransformStamped(child_frame_id=source_frame)
        fill_header(result.header, time.nanoseconds, target_frame)
        fill_transform(result.transform, inverse(target[root]) @ source[root])
        return result

    def _chain(self, frame, stamp):
        found, T = {frame: np.eye(4)}, np.eye(4)
        while frame in self._parents:
            T = self._at(frame, stamp) @ T
            frame = self._parents[frame]
            found[frame] = T
        return found

    def _at(self, frame, stamp):
        transforms = self._transforms[frame]
        if None in transforms:
            return transforms[None]
        if not stamp:
            return transforms[max(transforms)]
        if not min(transforms) <= stamp <= max(transforms):
            raise ExtrapolationException(f"no transform of {frame} at {stamp}")
        return transforms[min(transforms, key=lambda each: abs(each - stamp))]


class TransformListener:
    def __init__(self, buffer, node, *, spin_thread=False, qos=None, static_qos=None):
        self._node = node
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        moving, static = (
            partial(self._receive, buffer.set_transform),
            partial(self._receive, buffer.set_transform_static),
        )
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", moving, QoSProfile(depth=100)),
            node.create_subscription(TFMessage, "/tf_static", static, latched),
        ]

    @staticmethod
    def _receive(set_, message):
        for transform in message.transforms:
            set_(transform, "default_authority")

    def unregister(self):
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
