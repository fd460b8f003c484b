"""The trace of a call, as W3C Trace Context writes it: `00-<trace id>-<span id>-<flags>`.

Every call has one, whether anybody records spans or not: a root call's trace id is that of its own id where it is one
of time, so that who knows a call finds its trace, and the calls below it inherit it.
"""

import hashlib
import re
from typing import Final

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def root_trace(call_id: str) -> str:
    """The traceparent of a call that nothing traced began. Sampled: who records spans decides anew."""
    number = call_id[-32:]
    if call_id[-33:-32] != "-":  # one that is a hash
        number = hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()
    return f"00-{number}-{number[16:]}-01"


def is_traceparent(text: str) -> bool:
    """Whether it is one, of this version or a later one (W3C Trace Context, 4.3)."""
    found = _TRACEPARENT.fullmatch(text)
    return found is not None and (text[:2] != "00" or found[1] is None)
