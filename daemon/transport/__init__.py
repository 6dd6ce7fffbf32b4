"""Frames between daemons over ZeroMQ, in two planes.

    ControlTransport    membership, consensus, replication of decisions: on the asyncio loop, never blocks
    TickTransport       ghosts, effects, barriers: blocking, owned by the thread that runs the ticks

Both bind one PULL socket to receive and connect one PUSH socket per peer to send. A PULL never answers and a PUSH never
receives: an answer is a message of its own, and its envelope names its sender (see `daemon.wire`). Both carry lists of
frames, whose content they don't interpret.

With keys, everything is encrypted and both ends are authenticated (CURVE): a listener admits only allowed keys, and a
sender names the key that it expects. What is refused, dropped or broken is counted by reason:

    dropped             queue_full, oversize, no_key, not_connected, failed; flood: a connection was cut that sent
                        faster than the reader could keep up (see `backlog`)
    handshakes_failed   key (not allowed), mechanism (plain text where encryption is on, or the other way round),
                        cryptographic (a wrong server key), protocol (not ZeroMQ at all), broken; full: refused for now,
                        because too many bytes wait to be read
    accept_failed       no descriptor left for a connection
    listening_stopped   nobody is admitted for a while, because no descriptor was left
    connection_lost     a connection ended after its handshake: a peer stopped, or sent more than it may

`count` must be thread-safe: the transports' own threads call it, too.
"""

from daemon.transport.control import ControlTransport
from daemon.transport.security import Curve
from daemon.transport.sockets import BindFailed, Count, TransportLimits
from daemon.transport.ticks import TickTransport

__all__ = ["BindFailed", "ControlTransport", "Count", "Curve", "TickTransport", "TransportLimits"]
