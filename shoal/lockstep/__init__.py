"""The lockstep protocol: one run on one shard, from phase to phase, as a pure state machine.

machine       the current phase, the shares received, and when the next phase may begin
barrier       how many phases each shard has completed
messages      messages between shards on the tick plane
effects       what the machine requests from its host
runner        runs phases and settles them on engines, for every host
interruptible interrupts a program that does not return from a phase
figures       what the ticks of a run have cost
frames        the type of message fields that hold arrays
timing        how long to wait for peers, and which ticks are checkpoints
round_trip    estimates how long an answer takes
"""
