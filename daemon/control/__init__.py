"""The control plane of one shard, as pure state machines.

A machine is handed a message or the time and gives back a list of effects. It owns no socket, clock, thread or random
source. Three doors, the same for all:

    step(sender, message, now) -> effects     a peer said something
    wake(now) -> effects                      the time that ``deadline`` named has come
    deadline                                  when to call ``wake`` next, or None

``now`` is an int of monotonic nanoseconds, read in one place of the runtime. Machines never call each other: `plane`
composes them and routes between them. What the tick leader does for the others is in `leader`.
"""
