"""Programs of messages: a node class with `on_message`, on the same tick as everything else (docs/messages.md).

program     what an author subclasses; a tick of it, node by node
attribute   typed values of a node; how messages combine
node        a node and its edges, as the author's code sees them; `shared` is what they have in common
outbox      what nodes say, in plain lists; `letters` what that becomes
post        across shards, and into checkpoints
delivery    who gets what, in canonical order
requests    questions and their replies
values      what may be said and remembered
keeping     what is kept of nodes beside their attributes
tally       how many messages are under way
"""

from shoal.messages.attribute import Attribute, Combine
from shoal.messages.node import Edge, Node
from shoal.messages.program import NodeProgram
from shoal.messages.requests import Replies, Reply

__all__ = ["Attribute", "Combine", "Edge", "Node", "NodeProgram", "Replies", "Reply"]
