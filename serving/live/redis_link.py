"""The connection to Redis: short waits, and none at all while it is known not to answer."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from features.errors import ConfigError
from serving.live.store import LiveStateError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    raise ConfigError(
        "live.url: expected the Redis client to be installed, found none; run pip install 'footfall[redis]'."
    ) from None

_PROBE_SECONDS: Final = 0.25

_log = logging.getLogger(__name__)


class RedisLink:
    """A client, and whether Redis answers: one request finds out, a thread asks again, the others do not wait.

    Args:
        url: such as redis://127.0.0.1:6379/0.
        read_seconds: how long a read may take, which a recommendation waits for.
        write_seconds: how long a write may take.
    """

    def __init__(self, url: str, *, read_seconds: float, write_seconds: float) -> None:
        self.place = _without_password(url)
        self.reader = _client(url, read_seconds)
        self.client = _client(url, write_seconds)
        self._is_down = False
        self._lock = threading.Lock()

    def script(self, text: str) -> Callable[..., Any]:
        """Return a Lua script to call with ``args``."""
        script: Callable[..., Any] = self.client.register_script(text)
        return script

    @contextlib.contextmanager
    def explained(self, *, is_write: bool = False) -> Iterator[None]:
        """Turn what goes wrong with Redis inside the block into one kind of error.

        Args:
            is_write: whether the block writes: what was sent may then have been kept, though no answer came.

        Raises:
            LiveStateError: Redis does not answer, or refuses.
        """
        if self._is_down:
            raise LiveStateError.unavailable("Redis does not answer")
        failed = LiveStateError.unsure if is_write else LiveStateError.unavailable
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._trip(error)
            raise failed("Redis does not answer") from None
        except redis.RedisError as error:
            # Its first word says what: OOM, READONLY, MISCONF. The rest may hold a key, and so a user's id.
            word = str(error).split(" ", maxsplit=1)[0]
            _log.warning("Redis refuses: %s %s", type(error).__name__, word)
            raise failed(f"Redis refuses: {word}") from None

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.client.close()
        self.reader.close()

    def _trip(self, error: Exception) -> None:
        with self._lock:
            if self._is_down:
                return
            self._is_down = True
        _log.warning("Redis does not answer (%s); live state is left out until it does", type(error).__name__)
        threading.Thread(target=self._probe, name="redis-probe", daemon=True).start()

    def _probe(self) -> None:
        while True:
            time.sleep(_PROBE_SECONDS)
            with contextlib.suppress(redis.RedisError):
                self.reader.ping()
                break
        self._is_down = False
        _log.warning("Redis answers again")


def _client(url: str, seconds: float) -> Any:
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        # A connection that was closed meanwhile is opened once more; what takes too long is not asked again.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
    )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
