"""What Nacos says when it does not do what was asked, and what to do about it."""

from agentmesh.errors import MeshError, RegistryUnavailable, Unauthorized
from agentmesh.registry.nacos.address import GRPC, Address


class Refused(RegistryUnavailable):
    """Nacos answered, with an error. `code` is its own."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Stale(Refused):
    """The document was changed by somebody else meanwhile (compare-and-set)."""


def refusal(address: Address, what: str, code: int, message: str) -> MeshError:
    """The error for an answer of Nacos to the request `what`."""
    if code == 403 or "no right" in message.lower():
        return Unauthorized(
            f"{address} refuses {what}: {message or code}. Pass username= and password=, or token=, of somebody who "
            "may read and write this namespace."
        )
    kind = Stale if "cas publish fail" in message.lower() else Refused
    return kind(f"{address} refuses {what}: {message or 'no reason'} ({code}).", code)


def unreachable(address: Address, why: object = "") -> RegistryUnavailable:
    """The error for a Nacos that does not answer."""
    because = f": {why}" if str(why) else ""
    return RegistryUnavailable(
        f"{address} cannot be reached{because}. Start it, or correct the address; gRPC is at each port + {GRPC}. "
        "What is registered comes back by itself once it is there again."
    )
