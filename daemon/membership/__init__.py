"""Membership: who is in the group and who is thought to be alive (SWIM with Lifeguard), as a pure state machine.

machine                          the composition of the parts below
failure_detector, round_robin    whom to probe, and what comes of it
suspicion, local_health          how long a silent member has to speak up
member_table                     the greatest record heard of each name
gossip, dissemination            what is passed on to whom
push_pull                        whole lists, now and then
claims                           who shows up under a name that is known
"""
