"""A stand-in for Azure Service Bus queues: AMQP 1.0 on a loopback socket, everything in memory.

What it proves: that our use of the azure-servicebus SDK is right. The real SDK, sync and aio, is
the client; nothing in it is replaced.

What it does not prove: that Azure behaves the same. Nothing here was compared with Azure; the
semantics follow its documentation. Known gaps:

- no sessions, topics, subscriptions, duplicate detection, transactions, forwarding or partitions;
- no admin API: queues are declared when the broker is made, and cannot be changed;
- no TLS, no websockets, no persistence, no throttling;
- one valid token opens the whole connection: no rights per entity, and a connection outlives the
  token it was opened with;
- a message that expires is always dead-lettered (in Azure a setting of the queue, off by default);
- a dead-lettered message keeps its sequence number and counts against the queue's capacity.

Modules: `codec` (AMQP types and frames), `messages` (one message and its parts), `queues` (what a
queue does, without sockets), `links` (sessions and links), `management` (tokens and the request
nodes), `endpoint` (connections and the broker).
"""

from sandbox.servicebus.endpoint import Broker
from sandbox.servicebus.messages import Delivery, Message
from sandbox.servicebus.queues import LockLost, MessageNotFound, Queue, QueueFull, QueueSpec

__all__ = [
    "Broker",
    "Delivery",
    "LockLost",
    "Message",
    "MessageNotFound",
    "Queue",
    "QueueFull",
    "QueueSpec",
]
