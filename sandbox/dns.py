"""A stand-in for Traffic Manager's name servers and for the resolver between them and a client.

It answers A and AAAA questions for `{relativeName}.trafficmanager.test` over UDP, each drawn
by weight: an address when the target is one, else a CNAME, with the profile's TTL. For host
names it was told the address of (and for all of `localhost`), the chain is completed as a
recursive resolver would. No such profile, or nobody to name: NXDOMAIN.

It proves that a client which keeps to TTLs sees the shares we meant. It does NOT prove how fast
Azure's name servers learn of a change, nor how real resolvers spread and cache the answers.
"""

import asyncio
import socket
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from sandbox.arm import TrafficManager
from sandbox.arm_profile import DOMAIN, Answer
from sandbox.arm_rules import record_of

LOOPBACK: Final = "127.0.0.1"
_ASKED: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)
_HOST_TTL_S: Final = 60
_MAX_BYTES: Final = 4096
# asyncio's own transport reads one datagram per round of the loop: with hundreds of users at work
# in the same loop, questions come faster than that.
_MOST_AT_ONCE: Final = 100


class DnsAnswerer:
    """Serves DNS on a UDP port of 127.0.0.1 while it is entered.

    *hosts* maps the host names of endpoints to IPv4 addresses.
    """

    def __init__(self, traffic: TrafficManager, *, hosts: dict[str, str], port: int = 0) -> None:
        self.port = port
        self.hosts = {name.lower(): address for name, address in hosts.items()}
        self._traffic = traffic
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self._socket = ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            ours.settimeout(0)
            ours.bind((LOOPBACK, self.port))
        except OSError:
            ours.close()
            raise
        self.port = ours.getsockname()[1]
        asyncio.get_running_loop().add_reader(ours, self._read, ours)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self, ours: socket.socket) -> None:
        """Answer what waits, up to a bound; what is no question is dropped without a word."""
        with suppress(BlockingIOError):
            for _ in range(_MOST_AT_ONCE):
                data, address = ours.recvfrom(_MAX_BYTES)
                with suppress(dns.exception.DNSException):
                    ours.sendto(self.answer(dns.message.from_wire(data)).to_wire(), address)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The reply to *query*. Raises DNSException when it is no question."""
        reply = dns.message.make_response(query, recursion_available=True)
        if len(query.question) != 1:
            reply.set_rcode(dns.rcode.FORMERR)
            return reply
        asked = query.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        if name.endswith("." + DOMAIN):
            reply.flags |= dns.flags.AA
            self._from_profile(reply, asked, name)
        else:
            self._from_hosts(reply, asked, name, _HOST_TTL_S)
            if not reply.answer:
                reply.set_rcode(dns.rcode.REFUSED)
        return reply

    def _from_profile(self, reply: dns.message.Message, asked: dns.rrset.RRset, name: str) -> None:
        if asked.rdtype not in _ASKED:
            return
        try:
            drawn = self._traffic.answer_dns(name)
        except NotImplementedError:
            reply.set_rcode(dns.rcode.SERVFAIL)
            return
        if drawn is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._add(reply, asked, drawn)

    def _add(self, reply: dns.message.Message, asked: dns.rrset.RRset, drawn: Answer) -> None:
        record = record_of(drawn.target)
        if record == "CNAME":
            target = drawn.target.rstrip(".") + "."
            reply.answer.append(dns.rrset.from_text(asked.name, drawn.ttl_s, "IN", record, target))
            self._from_hosts(reply, asked, drawn.target, drawn.ttl_s)
        elif record == dns.rdatatype.to_text(asked.rdtype):
            answer = dns.rrset.from_text(asked.name, drawn.ttl_s, "IN", record, drawn.target)
            reply.answer.append(answer)

    def _from_hosts(
        self, reply: dns.message.Message, asked: dns.rrset.RRset, host: str, ttl_s: int
    ) -> None:
        bare = host.rstrip(".").lower()
        local = bare == "localhost" or bare.endswith(".localhost")
        address = self.hosts.get(bare, LOOPBACK if local else None)
        if address is not None and asked.rdtype == dns.rdatatype.A:
            reply.answer.append(dns.rrset.from_text(f"{bare}.", ttl_s, "IN", "A", address))
