"""Programs of messages: a class with `on_message` for each node, on the same ticks as all programs (docs/messages.md).

program     the base class of authors; executes a tick, node by node
attribute   typed values of a node; combiners
node        a node and its edges, as the author's code sees them; `shared` is their common state
outbox      the messages that nodes send, in plain lists; `envelopes` their form on the way
carrier     messages across shards and in checkpoints
delivery    sorts messages by receiver, in canonical order
requests    requests and their replies
values      checks of values in messages and memory
keeping     state of nodes beside their attributes, in checkpoints
tally       counts the messages under way
"""

from shoal.messages.attribute import Attribute, Combine
from shoal.messages.node import Edge, Node
from shoal.messages.program import NodeProgram
from shoal.messages.requests import Replies, Reply

__all__ = ["Attribute", "Combine", "Edge", "Node", "NodeProgram", "Replies", "Reply"]
