"""Group membership and failure detection (SWIM with Lifeguard), as a pure state machine.

machine                          composes the parts below
failure_detector, round_robin    whom to probe, and the outcome of probes
suspicion, local_health          how long a silent member has to refute its suspicion
member_table                     the greatest record received for each name
gossip, dissemination            which records go to which members
push_pull                        periodic exchange of full lists
claims                           new lives under a known name
refutation                       what a member announces about itself
outbox                           collects effects, and addresses messages
"""
