"""A shop's own rules, beside its ``shop.yaml``: what they are called, and where the features keep them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

TAGS_FILE: Final = "tags.yaml"
AUDIENCES_FILE: Final = "audiences.yaml"
TRIGGERS_FILE: Final = "triggers.yaml"
RULE_FILES: Final = (TAGS_FILE, AUDIENCES_FILE, TRIGGERS_FILE)


def copy_rule_files(data: Path, out: Path) -> list[str]:
    """Copy the rule files that a data directory has, and return their names."""
    found = [name for name in RULE_FILES if (data / name).is_file()]
    for name in found:
        shutil.copyfile(data / name, out / name)
    return found
