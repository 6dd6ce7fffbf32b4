"""What a machine runs: `shoald`, one shard of a cluster, and `shoalctl`, the operator's hand.

A tick's way through the files: the hosts in `runtime/` (`loop`, the control loop, and `tick_thread`, the tick plane)
receive from `transport/`, `wire/` turns bytes into messages, `membership/`, `control/`, `state/` and `transfer/` decide
as pure machines, their effects say what they want done, and the hosts and `services/` carry it out. `admin/` answers
operators; `observe/` shows how it goes.
"""
