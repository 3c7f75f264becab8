"""Nodes of one process hand their results to each other as they are, without messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Follower(Protocol):
    """A node that works on the results of another one of its process."""

    def wanted(self) -> bool:
        """Whether a result would be used now."""
        ...

    def take(self, *results: Any) -> None:
        """Use the results of one frame; returns when the work is done. Arrays are shared and not to be changed."""
        ...


def wanted(followers: Iterable[Follower]) -> bool:
    """Whether one of them would use a result now."""
    return any(follower.wanted() for follower in followers)


def hand_on(followers: Iterable[Follower], *results: Any) -> None:
    """Give the results of one frame to whoever would use them now."""
    for follower in followers:
        if follower.wanted():
            follower.take(*results)
