"""Which protocol a connection speaks: Hypercorn's choice, with our HTTP/1.1 and HTTP/2."""

from typing import Any

from hypercorn.events import Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

from penstock.http.cold import ColdProtocol
from penstock.http.edge import Edge
from penstock.http.http2 import StreamsProtocol


class Protocols(ProtocolWrapper):
    """One connection's protocol, which may change once, from HTTP/1.1 to HTTP/2."""

    def __init__(self, edge: Edge, *args: Any) -> None:  # noqa: ANN401 - as they are Hypercorn's
        super().__init__(*args)
        self._parts = args[:-1]
        if isinstance(self.protocol, H11Protocol):
            cold = ColdProtocol(*self._parts)
            cold.edge = edge
            self.protocol = cold
        else:
            self.protocol = StreamsProtocol(*self._parts)

    async def handle(self, event: Event) -> None:
        """Hand over what happened; switch to HTTP/2 where the client begins with it."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as assumed:
            self.protocol = StreamsProtocol(*self._parts)
            await self.protocol.initiate()
            await self.protocol.handle(RawData(assumed.data))
