"""Derives the parameters of the daemon's machines from its configuration."""

from __future__ import annotations

from consensus import Limits
from daemon.config import Config
from daemon.control.settings import ShardSettings
from daemon.membership.config import MembershipConfig
from daemon.runtime.descriptors import Shares
from daemon.transfer.chunks import LoadLimits
from daemon.transport.sockets import TransportLimits
from daemon.wire import WireLimits


def shard_settings(config: Config) -> ShardSettings:
    """Returns the control plane's parameters."""
    return ShardSettings(
        expect=config.cluster.expect,
        is_authenticated=config.security.encryption == "curve",
        virtual_nodes=config.graph.virtual_nodes,
        replicas=config.graph.replicas,
        absent_patience_ns=config.cluster.absent_patience_ns,
        flap_patience_ns=config.cluster.flap_patience_ns,
        snapshot_entries=config.consensus.snapshot_entries,
        results_kept=config.ticks.results_kept,
        results_bytes=config.ticks.results_bytes,
        membership=MembershipConfig(**config.membership.model_dump()),
        consensus=Limits(**config.consensus.model_dump(exclude={"snapshot_entries"})),
    )


def transport_limits(config: Config, shares: Shares) -> TransportLimits:
    """Returns the limits of either plane's sockets."""
    section = config.transport
    return TransportLimits(
        frame_bytes_max=section.frame_bytes_max,
        frames_max=section.frames_max,
        queue_messages_max=section.queue_messages_max,
        queue_bytes_max=section.queue_bytes_max,
        drain_max=section.control_drain_max,
        connections_max=shares.plane,
        speakers_max=shares.peers,
        strangers_max=shares.strangers,
    )


def wire_limits(config: Config) -> WireLimits:
    """Returns the limits on decoded messages."""
    section = config.transport
    return WireLimits(
        header_bytes_max=section.header_bytes_max,
        frame_bytes_max=section.frame_bytes_max,
        frames_max=section.frames_max,
    )


def load_limits(config: Config) -> LoadLimits:
    """Returns the limits on received pieces of graphs."""
    return LoadLimits(piece_bytes_max=config.graph.load_bytes_max)
