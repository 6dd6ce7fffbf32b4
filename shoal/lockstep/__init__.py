"""The lockstep protocol: one run on one shard, from phase to phase, as a pure state machine.

machine     which phase is on, what has come of it from whom, and when the next may begin
barrier     how many phases each shard has completed
messages    what shards say to each other about it
effects     what the machine asks of its host
"""
