"""Secrets in files, as Docker, Kubernetes and systemd (`LoadCredential=`) hand them over: `NAME_FILE` for `NAME`."""

from collections.abc import Mapping
from pathlib import Path

SECRETS = ("SLUSS_DATABASE_URL", "SLUSS_WAKE_TOKEN", "SLUSS_METRICS_TOKEN")
"""Settings that are secret, or hold a password."""


def with_secret_files(env: Mapping[str, str], problems: list[str]) -> Mapping[str, str]:
    """The environment with what the files say; what cannot be read, or is said twice, is added to `problems`."""
    read = dict(env)
    for name in SECRETS:
        path = env.get(f"{name}_FILE")
        if not path:
            continue
        if env.get(name):
            problems.append(f"set {name} or {name}_FILE, not both")
            continue
        try:
            read[name] = Path(path).read_text().strip()
        except (OSError, ValueError):
            problems.append(f"{name}_FILE takes the path of a file that can be read")
    return read
