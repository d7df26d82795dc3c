"""How a secret betrays itself in a file where none belongs: by the name of its key, or by its own shape."""

from __future__ import annotations

import re

INSTEAD = (
    "secrets come from the Airflow connection `importer_<tenant>_<importer>` or, without Airflow, from an environment "
    "variable; take it out here and, if the file was shared, replace the secret"
)
"""What to do about a secret in a file."""

_NAMES = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|passphrase|secrets?|tokens?|credentials?"
    r"|(?:api|private|access|secret|signing|encryption|account|auth|shared)_?keys?)$"
)
_PAGING = re.compile(r"(?:^|_)(?:next|page|paging|pagination|continuation|sync|cursor|resume)_tokens?$")
"""Where a page's token is found in an answer: the name of a field, not a secret."""

# Shapes as their issuers document them (GitHub, AWS, Slack, Stripe, Google), PEM by RFC 7468, JWT by RFC 7519.
_SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a JSON Web Token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}"),
    "a password in an address": re.compile(r"://[^\s/:@]*:[^\s/@]+@"),
    "a secret in an address": re.compile(r"[?&](?:api_?key|access_token|token|sig|client_secret)=[^&\s]{6,}", re.I),
    "a password in a connection string": re.compile(r"\b(?:password|pwd|accountkey|sharedaccesskey)\s*=\s*\S+", re.I),
}


def names_a_secret(key: str) -> bool:
    """Whether a key of this name holds a secret: `client_secret`, `apiKey`; not `primary_key` or `page_token`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    return bool(_NAMES.search(snake)) and not _PAGING.search(snake)


def secret_shape(text: str) -> str | None:
    """What kind of secret the text holds, if it looks like one."""
    return next((kind for kind, shape in _SHAPES.items() if shape.search(text)), None)
