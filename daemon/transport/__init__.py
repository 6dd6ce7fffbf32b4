"""Frames between daemons over ZeroMQ, in two planes.

    ControlTransport    membership, consensus, replication of decisions: on the asyncio loop, never blocks
    TickTransport       ghosts, effects, barriers: blocking, owned by the thread that runs the ticks

Both bind one PULL socket to hear with and connect one PUSH socket a peer to speak with. A PULL never answers, a PUSH
never hears: an answer is a message of its own, and who sent one stands in its envelope (see `daemon.wire`). Both carry
lists of frames and know nothing of what is in them.

With keys everything is encrypted and both ends are authenticated (CURVE): a listener takes the allowed keys only, and a
speaker names the key that it expects. What is refused, dropped or broken is counted by reason:

    dropped             queue_full, oversize, no_key, not_connected, failed; flood: a connection was cut whose messages
                        nobody could read as fast as they came (see `backlog`)
    handshakes_failed   key (not allowed), mechanism (plain text where encryption is on, or the other way round),
                        cryptographic (a wrong server key), protocol (not ZeroMQ at all), broken; full: refused for now,
                        because too much waits to be read
    accept_failed       no descriptor left for a connection
    listening_stopped   for a while nobody is let in, because there was none
    connection_lost     a connection ended after its handshake: a peer stopped, or sent more than it may

`count` is called from the transports' own threads as well; it must take that.
"""

from daemon.transport.control import ControlTransport
from daemon.transport.security import Curve
from daemon.transport.sockets import BindFailed, Count, TransportLimits
from daemon.transport.ticks import TickTransport

__all__ = ["BindFailed", "ControlTransport", "Count", "Curve", "TickTransport", "TransportLimits"]
