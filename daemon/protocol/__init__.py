"""The daemon's protocols, each a pure state machine.

A machine here is handed a message or the time, and gives back a list of effects; it owns no socket, no clock, no
thread and no random source. Three doors, the same for all:

    step(sender, message, now) -> effects     a peer said something
    wake(now) -> effects                      the time that ``deadline`` named has come
    deadline                                  when to call ``wake`` next, or None

``now`` is an int of monotonic nanoseconds, read in one place of the runtime. Machines never call each other: the
shard routes between them. A machine's file is named after its protocol, its messages and effects lie beside it.
"""
