"""The control plane of one shard, as pure state machines.

A machine takes a message or the time and returns a list of effects. It owns no socket, clock, thread or random source.
All machines have the same interface:

    step(sender, message, now) -> effects     a peer sent a message
    wake(now) -> effects                      the time named by ``deadline`` has come
    deadline                                  when to call ``wake`` next, or None

``now`` is an int of monotonic nanoseconds, read in one place of the runtime. Machines never call each other: `plane`
composes them and routes between them. `leader` makes the tick leader's decisions.
"""
