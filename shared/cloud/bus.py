"""Messages into Service Bus queues: one client, one sender per queue, both kept open.

Opening a sender costs half a second, so it is made once; after a failure it is thrown away,
since its link may be the trouble. A send that is told twice is harmless to Linnet's own queues:
the message id is remembered with its effect.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from azure.core.exceptions import AzureError
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError

from shared.cloud import trouble
from shared.errors import RefusedError, UnreachableError


class Bus:
    """Sends bytes to queues. `connect` makes the client at the first send, inside the loop."""

    def __init__(
        self, connect: Callable[[], ServiceBusClient], *, timeout_s: float, max_bytes: int
    ) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def send(
        self,
        queue: str,
        body: bytes,
        message_id: str,
        *,
        content_type: str = "application/json",
        subject: str | None = None,
    ) -> None:
        """Return only when the queue has the message.

        Raises RefusedError when it is too large, UnreachableError when nobody knows that it
        arrived: to send it again with the same id is safe.
        """
        if len(body) > self._max_bytes:
            raise RefusedError(f"a message of {len(body)} bytes is over {self._max_bytes}")
        message = ServiceBusMessage(
            body, message_id=message_id, content_type=content_type, subject=subject
        )
        async with self._locks[queue]:
            await self._sent(queue, message)

    async def close(self) -> None:
        """Close senders and client."""
        for queue in tuple(self._senders):
            await self._drop(queue)
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _sent(self, queue: str, message: ServiceBusMessage) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._sender(queue).send_messages(message, timeout=self._timeout_s)
        except MessageSizeExceededError as error:
            raise RefusedError(f"the queue {queue} takes no message of this size") from error
        except (AzureError, OSError, TimeoutError, ValueError) as error:
            await self._drop(queue)
            said = trouble.words(error)
            raise UnreachableError(f"could not send to the queue {queue}: {said}") from error
        except asyncio.CancelledError:
            await self._drop(queue)
            raise

    def _sender(self, queue: str) -> ServiceBusSender:
        if self._client is None:
            self._client = self._connect()
        if queue not in self._senders:
            self._senders[queue] = self._client.get_queue_sender(queue)
        return self._senders[queue]

    async def _drop(self, queue: str) -> None:
        """Forget the sender; what fails while closing it has no meaning any more."""
        sender = self._senders.pop(queue, None)
        if sender is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await sender.close()
        except (AzureError, OSError, TimeoutError, ValueError):
            return
