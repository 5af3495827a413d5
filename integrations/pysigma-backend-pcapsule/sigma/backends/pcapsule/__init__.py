"""pySigma backend for pcapsule."""

from .backend import PcapsuleBackend

backends = {"pcapsule": PcapsuleBackend}

__all__ = ["PcapsuleBackend"]
