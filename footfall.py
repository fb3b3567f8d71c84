"""The front door: ``footfall VERB ...``, which imports only what the verb needs."""

from __future__ import annotations

import atexit
import importlib
import json
import logging
import os
import sys
from typing import Final

from features.errors import FootfallError, did_you_mean

# verb -> (module with ``run(argv) -> dict``, what the help says)
VERBS: Final = {
    "data": ("serving.commands.data", "bring a shop's log into the contract; look at, export or erase a customer"),
    "features": ("features.commands.features", "build tables, sequences and panels from a data directory"),
    "tags": ("features.commands.tags", "say which tags customers carry, and how much each says of the next period"),
    "audiences": ("features.commands.audiences", "preview, list, export, compare and grow audiences of customers"),
    "triggers": ("features.commands.triggers", "plan the messages of a morning: whom to write to, when, and why"),
    "train": ("training.commands.train", "train a retrieval or demand model and write it as a release part"),
    "tune": ("training.commands.tune", "search for a model's settings on the validation window"),
    "items": ("training.commands.items", "add new items to a model and take out gone ones, between trainings"),
    "evaluate": ("training.commands.evaluate", "score a trained model beside its baselines and write the report"),
    "report": ("features.commands.report", "write pages for people: customers, behaviour, campaigns, boards"),
    "sql": ("features.commands.sql", "ask the contract's tables in SQL, read-only"),
    "promote": ("training.commands.promote", "join parts into a release and serve it, if its model has earned it"),
    "serve": ("serving.commands.serve", "answer requests from a release"),
    "recommend": ("serving.commands.recommend", "write lists for many users at once, for mails, caches and apps"),
    "settings": ("serving.commands.settings", "list every setting of the service, its default and its meaning"),
    "rules": ("serving.commands.rules", "check merchandising rules and experiments before they are served"),
    "keys": ("serving.commands.keys", "make, list and revoke the keys that callers of the service show"),
    "webhooks": ("serving.commands.webhooks", "send what waits in the outbox; look at what was given up; make secrets"),
    "live": ("serving.commands.live", "hand the events that were served to the next feature build"),
    "consume": ("serving.commands.consume", "keep the events of a stream as if they had been sent to the service"),
    "demo": ("footfall_demo", "all of the above on a real shop's log, in one go"),
}

# As a shell reports a process that Ctrl-C ended.
_INTERRUPTED: Final = 130

_USAGE: Final = """usage: footfall VERB [ARGUMENT ...]

From a shop's behaviour log to recommendations, customer segments and demand.

verbs:
{verbs}

`footfall VERB --help` says what a verb takes. Results are JSON on stdout; progress and errors go to stderr.
Exit codes: 0 done, 1 the system refused, 2 usage, 3 data, 4 release, 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the process's exit code."""
    words = sys.argv[1:] if argv is None else argv
    if argv is None:
        atexit.register(_leave_quietly)
    if not words or words[0] in ("-h", "--help"):
        listing = "\n".join(f"  {verb:<10}{text}" for verb, (_, text) in VERBS.items())
        print(_USAGE.format(verbs=listing), end="")
        return 0 if words else 2
    verb, *rest = words
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        print(f"footfall: unknown verb {verb!r}.{hint} `footfall --help` lists them.", file=sys.stderr)
        return 2
    # Training and export run models too, and ONNX Runtime would start a thread with its maker's address in it.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    # Which vector instructions faiss finds is no news to anyone.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        result = importlib.import_module(VERBS[verb][0]).run(rest)
    except FootfallError as error:
        print(f"footfall {verb}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"footfall {verb}: interrupted; what was finished stays.", file=sys.stderr)
        return _INTERRUPTED
    except OSError as error:
        print(f"footfall {verb}: {error.strerror or error}: {error.filename or 'the system refused'}", file=sys.stderr)
        return FootfallError.exit_code
    if result is not None:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    return 0


def _leave_quietly() -> None:
    """Point stderr nowhere for what native libraries say after Python has ended.

    In a process that has loaded torch, DuckDB's types outlive the interpreter, and its binding lists them as leaks.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


if __name__ == "__main__":
    sys.exit(main())
