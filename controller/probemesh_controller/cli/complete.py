"""What TAB offers: names from the cache and the configuration, words from lists. Never the network."""

import os

from probemesh_controller.cli import names_cache
from probemesh_controller.cli.flags import FLAGS, chosen_context, load_config

_WORDS = ["all", "self", "failed", "@last"]


def selectors(incomplete: str) -> list[str]:
    """Completes the last term of ``a,b+c``."""
    cut = max(incomplete.rfind(","), incomplete.rfind("+")) + 1
    agents, sites = _known()
    return [incomplete[:cut] + word for word in (*_WORDS, *agents, *(f"site={site}" for site in sites))]


def targets(incomplete: str) -> list[str]:
    agents = _known()[0] if incomplete.startswith("agent:") else []
    return [
        "http://",
        "https://",
        "tcp://",
        "udp://",
        "dns:",
        "icmp:",
        "agent:",
        "@last",
        *(f"agent:{a}" for a in agents),
    ]


def agent_names(incomplete: str) -> list[str]:
    return _known()[0]


def contexts(incomplete: str) -> list[str]:
    try:
        return list(load_config().contexts)
    except Exception:  # a shell in the middle of a line wants no error
        return []


def kinds(incomplete: str) -> list[str]:
    return ["icmp", "dns", "tcp", "udp", "tls", "http"]


def expectations(incomplete: str) -> list[str]:
    from probemesh_shared.expectations import KEYS

    return [f"{key}=" for key in KEYS]


def until(incomplete: str) -> list[str]:
    return ["reachable", "unreachable"]


def runs(incomplete: str) -> list[str]:
    """Ids of saved runs, newest first: names of files, none of which is opened."""
    from probemesh_controller.cli.keeping import required_history

    try:
        return ["@last", *required_history().ids()]
    except Exception:  # as above
        return []


def modules(incomplete: str) -> list[str]:
    from probemesh_controller.cli.specs import saved

    try:
        return list(saved.everything(saved.tables(load_config(), chosen_context())))
    except Exception:  # as above
        return []


def _known() -> tuple[list[str], list[str]]:
    from probemesh_controller import config

    try:
        context = chosen_context()
    except Exception:  # as above
        return [], []
    name = context.name if context is not None else FLAGS.context or ""
    return names_cache.load(config.cache_dir(os.environ), name)
