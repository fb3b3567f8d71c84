"""``footfall data links`` and ``footfall data deny``: look at what makes one customer, and undo a wrong link."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from features.errors import ConfigError


def links(features: Path, user: str = "", *, why: str = "", who: str = "", audit: Path | None = None) -> dict[str, Any]:
    """Show one customer's ids, the evidence that links them, and the merge log; who asked is recorded.

    Args:
        features: feature directory that `footfall features` wrote.
        user: any id of the customer.
        why: reason, for the record.
        who: name of whoever asks; the account of this process where left out.
        audit: file of the record; access.jsonl beside the directory where left out.
    """
    from features.build import IDENTITY_DIRECTORY
    from features.identity.inspect import links_of_customer
    from features.privacy.export import access_log_of

    if not user:
        raise ConfigError("expected --user ID, found none.")
    found = links_of_customer(features / IDENTITY_DIRECTORY, user)
    access_log_of(features, audit).record(
        "links shown", ids=[row["id"] for row in found["ids"]], who=who, why=why, directory=str(features)
    )
    return found


def deny(data: Path, id_a: str, id_b: str, why: str = "") -> dict[str, Any]:
    """Say that two ids are not one customer; the next `footfall features` undoes the link.

    Args:
        data: data directory; the denial is added to its identity_denials.yaml.
        id_a: stays with the customer.
        id_b: leaves where other links still join the two.
        why: in words.
    """
    from features.identity.denials import DENIALS_YAML, deny_link

    if not why:
        raise ConfigError("expected --why TEXT, found none: somebody will ask.")
    deny_link(data, id_a=id_a, id_b=id_b, why=why, at=dt.datetime.now(dt.UTC))
    return {"denied": [id_a, id_b], "file": str(data / DENIALS_YAML)}
