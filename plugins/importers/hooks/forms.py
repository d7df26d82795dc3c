"""The forms of our connection types, as Airflow's UI draws them. Plain data: every `airflow` command reads it."""

from __future__ import annotations

from typing import Any

HIDDEN = ("schema", "port")
_TEXT = {"type": ["string", "null"]}
_SECRET = {"type": ["string", "null"], "format": "password"}
_REFRESH = {
    "refresh_token": {"label": "Refresh token", "schema": _SECRET, "description": "Of the user whose data is read."}
}
_TOKENS = {"token_address": {"label": "Token address", "schema": _TEXT, "description": "Instead of the vendor's."}}


def _form(
    name: str,
    title: str,
    address: str,
    labels: dict[str, str],
    fields: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A connection type; a field without a label is hidden."""
    hidden = [field for field in ("login", "password") if field not in labels]
    form: dict[str, Any] = {
        "connection-type": name,
        "hook-class-name": f"importers.hooks.{name}.{name.capitalize()}Hook",
        "hook-name": title,
        "ui-field-behaviour": {
            "hidden-fields": [*HIDDEN, "extra", *hidden],
            "relabeling": {"host": "Address", **labels},
            "placeholders": {"host": address},
        },
    }
    return form | ({"conn-fields": fields} if fields else {})


_CLIENT = {"login": "Client ID", "password": "Client secret"}

CONNECTION_TYPES = [
    _form("amplitude", "Amplitude", "https://amplitude.com/api", {"login": "API key", "password": "Secret key"}),
    _form("instagram", "Instagram", "https://graph.instagram.com/v25.0", {"password": "Access token"}),
    _form("lastfm", "Last.fm", "https://ws.audioscrobbler.com/2.0/", {"password": "API key"}),
    _form("mixpanel", "Mixpanel", "https://mixpanel.com/api", {"login": "Service account", "password": "Secret"}),
    _form("segment", "Segment", "https://api.segmentapis.com", {"password": "Public API token"}),
    _form("soundcloud", "SoundCloud", "https://api.soundcloud.com", _CLIENT, _TOKENS),
    _form("spotify", "Spotify", "https://api.spotify.com/v1", _CLIENT, {**_REFRESH, **_TOKENS}),
    _form(
        "tiktok",
        "TikTok",
        "https://open.tiktokapis.com/v2",
        {"login": "Client key", "password": "Client secret"},
        _REFRESH,
    ),
    _form("twitter", "X (Twitter)", "https://api.x.com/2", {"password": "Bearer token"}),
]
