"""``footfall settings``: what `footfall serve --config` may say."""

from __future__ import annotations

import sys

from features.commands.parsing import run_command


def settings() -> None:
    """Write every setting of the service, its default and its meaning, as Markdown."""
    from serving.process.reference import settings_page

    sys.stdout.write(settings_page())


def run(argv: list[str]) -> None:
    """Run ``footfall settings``."""
    run_command(settings, argv, prog="footfall settings")
