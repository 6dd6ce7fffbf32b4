"""What a machine runs: `shoald`, one shard of a cluster, and `shoalctl`, the operator's hand.

A tick's way through the files: the hosts in `host/` (`runtime`, the control loop, and `tick_thread`, the tick plane)
receive from `transport/`, `wire/` turns bytes into messages, `shard` and `protocol/` decide as pure machines, `effects`
says what they want done, and the hosts carry it out. `admin/` answers operators; `watch/` shows how it goes.
"""
