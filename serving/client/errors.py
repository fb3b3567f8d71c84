"""What a call raises."""

from __future__ import annotations

from typing import Final

import msgspec

from features.errors import FootfallError
from serving.api.schemas import ErrorAnswer

UNREACHABLE: Final = "unreachable"
FOREIGN: Final = "foreign_answer"


class CallError(FootfallError):
    """The service refused a call, or could not be reached.

    Args:
        status: of HTTP; 0 where there was no answer.
        code: a word for programs; ``unreachable`` where there was no answer.
        message: expected, found, what to do.
        retry_after_seconds: how long the service asks to wait, where it does.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, status: int, content: bytes, retry_after_seconds: float | None) -> CallError:
        """Read the service's own error; what stands in front of it, such as a proxy, may answer in other words."""
        try:
            error = msgspec.json.decode(content, type=ErrorAnswer).error
        except msgspec.MsgspecError:
            return cls.foreign(status, retry_after_seconds)
        return cls(status, error.code, error.message, retry_after_seconds=retry_after_seconds)

    @classmethod
    def foreign(cls, status: int, retry_after_seconds: float | None = None) -> CallError:
        """Something answered that is not the service, such as a page to sign in on; 0 where not even that could be read."""
        what = f"HTTP {status}" if status else "An answer came"
        message = f"{what}, and the body is not the service's own; see what stands between here and it."
        return cls(status, f"http_{status}" if status else FOREIGN, message, retry_after_seconds=retry_after_seconds)
