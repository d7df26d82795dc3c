"""Spotify's saved tracks of a user: newest first, by offset, behind a refresh token."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from importers.core.model import Reads
from tests.support.loopback import Asked, Reply

from .world_api import ApiWorld

SECRETS = ("kanarienvogel-5f2b", "AQDrefresh-me-77", "BQDaccess-me-99")
LISTENER = "listener-ada-1815"


def saved(number: int, name: str, popularity: int | None) -> dict[str, Any]:
    """A row as the table has it."""
    return {
        "user_id": LISTENER,
        "added_at": datetime(2026, 2, number, 13, 28, 26, tzinfo=UTC),
        "track_id": f"track{number}",
        "track_uri": f"spotify:track:track{number}",
        "track": name,
        "artists": [{"id": f"artist{number}", "name": "ünï"}],
        "album_id": f"album{number}",
        "album": "an album",
        "release_date": "1999",
        "isrc": None if number == 2 else f"ISRC{number}",
        "duration_ms": 203_000 + number,
        "explicit": number == 1,
        "popularity": popularity,
    }


class Spotify(ApiWorld):
    wrong: ClassVar[dict[str, Any]] = {"page_size": 51}
    reads = Reads.SNAPSHOT
    stream = "saved_tracks"
    key = ("user_id", "track_uri")
    policy: ClassVar[dict[str, Any]] = {
        "user_id": "pseudonymise",
        "artists": "drop",
        **dict.fromkeys(("track_uri", "added_at", "track_id", "track", "album_id", "album", "release_date"), "keep"),
        **dict.fromkeys(("isrc", "duration_ms", "explicit", "popularity"), "keep"),
    }
    subject: ClassVar[dict[str, str]] = {"column": "user_id", "domain": "listener"}
    unclassified = None
    secrets = SECRETS
    values = (LISTENER, "cødé")

    def records(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return [saved(1, 'a "quoted"\ntitle', 51), saved(2, "ünï, cødé", None), saved(3, "plain", 0)], [
            saved(4, "later", None)
        ]

    def config(self) -> dict[str, Any]:
        return {"page_size": 2} | self.patience()

    def connection(self) -> dict[str, Any]:
        secret, refresh, _ = SECRETS
        tokens = {"token_address": f"{self.http.address}/token", "refresh_token": refresh}
        return {"host": self.http.address, "login": "me", "password": secret, **tokens}

    def answer(self, asked: Asked) -> Reply:
        _, refresh, access = SECRETS
        if asked.path == "/token":
            good = asked.form.get("refresh_token") == refresh and not self.denied
            if not good:
                return Reply({"error": "invalid_grant", "error_description": "Refresh token revoked"}, 400)
            return Reply(
                {"access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": "user-library-read"}
            )
        if self.denied or asked.headers.get("authorization") != f"Bearer {access}":
            return Reply({"error": {"status": 401, "message": f"The access token expired {access}"}}, 401)
        if asked.path == "/me":
            return Reply({"id": LISTENER, "display_name": "Ada", "email": "ada@example.org"})
        if asked.path == "/search":
            return Reply({"artists": {"items": []}})
        offset, limit = int(asked.query.get("offset", "0")), int(asked.query["limit"])
        newest = sorted(self.served, key=lambda row: row["added_at"], reverse=True)
        page = [_json(row) for row in newest[offset : offset + limit]]
        return Reply({"items": page, "total": len(newest), "limit": limit, "offset": offset, "next": None})


def _json(row: dict[str, Any]) -> dict[str, Any]:
    album = {"id": row["album_id"], "name": row["album"], "release_date": row["release_date"], "images": []}
    track = {
        "id": row["track_id"],
        "uri": row["track_uri"],
        "name": row["track"],
        "artists": [artist | {"type": "artist"} for artist in row["artists"]],
        "album": album,
        "external_ids": {} if row["isrc"] is None else {"isrc": row["isrc"]},
        "duration_ms": row["duration_ms"],
        "explicit": row["explicit"],
    }
    popularity = {} if row["popularity"] is None else {"popularity": row["popularity"]}
    return {"added_at": row["added_at"].strftime("%Y-%m-%dT%H:%M:%SZ"), "track": track | popularity}
