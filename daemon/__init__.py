"""What a machine runs: `shoald`, one shard of a cluster, and `shoalctl`, the operator's hand.

A tick's way through the files: `runtime` (the control loop) and `tick_thread` (the tick plane) receive from
`transport`, `wire` turns bytes into messages, `shard` and `protocol/` decide as pure machines, `effects` says what they
want done, and the two hosts carry it out. `operations` answers what comes in on the `admin` socket; `metrics` counts.
"""
