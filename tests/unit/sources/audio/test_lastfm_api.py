"""Last.fm's recorded answers (pylast's, Apache-2.0), as its JSON has them; expected values are read by eye.

The recordings are XML. Last.fm makes JSON of it by one rule: an attribute of an element with text stands beside its
`#text`, one of an element with children in `@attr`, and elements of one name are a list if there are several.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from tests.support.loopback import Loopback, Reply

from importers.core.connection import Connection
from importers.core.model import Plan, Window
from importers.exceptions import ContractError, FatalSourceError, ImporterError, TransientSourceError
from importers.sources.audio.lastfm_api import Lastfm, LastfmConfig

CASSETTES = Path(__file__).parent / "cassettes"


def recorded(name: str) -> list[tuple[dict[str, str], Any]]:
    """What was asked, and the answer as JSON."""
    found = yaml.safe_load((CASSETTES / f"{name}.yaml").read_text())["interactions"]
    asked = [dict(part.split("=") for part in one["request"]["body"].split("&")) for one in found]
    roots = [ElementTree.fromstring(one["response"]["body"]["string"].encode())[0] for one in found]
    return [(said, {root.tag: _json(root)}) for said, root in zip(asked, roots, strict=True)]


def _json(element: ElementTree.Element) -> Any:
    if not len(element):
        text = element.text or ""
        return {**element.attrib, "#text": text} if element.attrib else text
    made: dict[str, Any] = {"@attr": dict(element.attrib)} if element.attrib else {}
    for tag in dict.fromkeys(child.tag for child in element):
        values = [_json(child) for child in element if child.tag == tag]
        made[tag] = values[0] if len(values) == 1 else values
    return made


class Last:
    """Last.fm, of which one answer was recorded."""

    def __init__(self, http: Loopback, **config: Any) -> None:
        config = {"user": "RJ", "retry_attempts": 1} | config
        connection = Connection({"host": http.address, "password": "kanarienvogel"})
        self.http, self.source = http, Lastfm(LastfmConfig(**config), tenant="acme", connection=connection)

    def rows(self, stream: str, window: Window | None = None) -> list[dict[str, Any]]:
        (found,) = [one for one in self.source.streams() if one.name == stream]
        plan: Plan = self.source.plan(found, window or Window(), {})
        batches = (batch for part in plan.partitions for batch in self.source.read(found, part))
        return [row for batch in batches for row in batch.rows.to_pylist()]


@pytest.fixture
def served() -> list[Reply]:
    return []


@pytest.fixture
def http(served: list[Reply]) -> Iterator[Loopback]:
    with closing(Loopback(lambda _: served[0] if len(served) == 1 else served.pop(0))) as made:
        yield made


def test_recent_tracks_as_they_were_recorded(http: Loopback, served: list[Reply]) -> None:
    ((asked, answer),) = recorded("recent_tracks_from_to")
    served.append(Reply(answer))
    window = Window("2011-07-21T15:10:00+00:00", "2011-07-21T15:15:00+00:00")
    rows = Last(http).rows("recent_tracks", window)
    assert {name: http.asked[0].form[name] for name in asked if name not in ("limit", "page")} == {
        "from": "1311261000",
        "to": "1311261300",
        "method": "user.getRecentTracks",
    }
    assert rows == [
        {
            "user": "RJ",
            "played_at": datetime(2011, 7, 21, 15, 12, 50, tzinfo=UTC),
            "artist": "Johnny Cash",
            "track": "Ring of Fire",
            "album": "The Best Of",
            "url": "https://www.last.fm/music/Johnny+Cash/_/Ring+of+Fire",
            "mbid": "8e85d1cb-a82e-47ed-b412-325360adec71",
        }
    ]


def test_a_list_of_several(http: Loopback, served: list[Reply]) -> None:
    served.append(Reply(recorded("recent_tracks_limit_none")[0][1]))
    rows = Last(http, user="bbc6music").rows("recent_tracks", Window("2020-02-15T15:00:00Z", "2020-02-15T15:40:00Z"))
    assert len(rows) == 11
    assert rows[0]["artist"] == "Seun Kuti & Egypt 80"
    assert rows[1]["mbid"] == "09d5dd70-80f3-4598-bf71-dd1f627d4c50"


def test_loved_tracks_of_two_pages(http: Loopback, served: list[Reply]) -> None:
    """The recording's first page says that there are 23 on two pages; the second is the end of the third recording."""
    pages = recorded("loved_tracks")
    first, whole = pages[0][1], pages[1][1]
    second = {"lovedtracks": {"@attr": first["lovedtracks"]["@attr"], "track": whole["lovedtracks"]["track"][20:]}}
    served += [Reply(first), Reply(second), Reply(first)]
    rows = Last(http, page_size=20).rows("loved_tracks")
    assert len(rows) == len({(row["artist"], row["track"]) for row in rows}) == 23
    assert rows[0] == {
        "user": "RJ",
        "loved_at": datetime(2006, 8, 16, 10, 3, 32, tzinfo=UTC),
        "artist": "The Offspring",
        "track": "Original Prankster",
        "url": "https://www.last.fm/music/The+Offspring/_/Original+Prankster",
        "mbid": "3efef57e-6e47-41bc-8832-54d11eed8105",
    }
    assert [asked.form.get("page", "1") for asked in http.asked] == ["1", "2", "1"]


def test_a_list_whose_top_moves_while_its_pages_are_read_is_read_again(http: Loopback, served: list[Reply]) -> None:
    """One was loved and another no longer: there are as many as before, and what was last on page 1 is lost."""
    pages = recorded("loved_tracks")
    first, whole = pages[0][1], pages[1][1]
    attr, tracks = first["lovedtracks"]["@attr"], whole["lovedtracks"]["track"]
    second = {"lovedtracks": {"@attr": attr, "track": tracks[20:]}}
    moved = {"lovedtracks": {"@attr": attr, "track": [{**tracks[0], "name": "newly loved"}, *tracks[:19]]}}
    served += [Reply(first), Reply(second), Reply(moved)]
    with pytest.raises(TransientSourceError, match="changed while it was read"):
        Last(http, page_size=20).rows("loved_tracks")


def test_top_lists_have_numbers(http: Loopback, served: list[Reply]) -> None:
    for name in ("top_tracks", "top_artists"):
        answer = recorded(name)[0][1]
        for told in answer.values():
            told["@attr"] |= {
                "totalPages": "1",
                "total": "2" if name == "top_tracks" else "1",
            }  # as many as were recorded
        served[:] = [Reply(answer)]
        rows = Last(http, period="7day").rows(name)
        found = [(row["artist"], row.get("track"), row["playcount"], row["rank"]) for row in rows]
        assert (
            found
            == {
                "top_tracks": [
                    ("Dire Straits", "Sultans of Swing", 106, 1),
                    ("Armin van Buuren", "Blah Blah Blah", 75, 2),
                ],
                "top_artists": [("Test Artist", None, 5100, 1)],
            }[name]
        )
        assert http.asked[-1].form["period"] == "7day"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, TransientSourceError) for code in (8, 11, 16, 29)),
        *((code, FatalSourceError) for code in (6, 10, 17, 26)),
    ],
)
def test_errors_are_told_by_their_number(
    http: Loopback, served: list[Reply], code: int, error: type[ImporterError]
) -> None:
    """https://www.last.fm/api/errorcodes: 8, 11, 16 and 29 pass, the others don't."""
    served.append(Reply({"error": code, "message": "of ada@example.org"}))
    with pytest.raises(error, match=f"error {code}") as told:
        Last(http).rows("loved_tracks")
    assert "ada@" not in str(told.value)


def test_what_is_playing_now_doesn_t_stand_for_a_play_that_is_missing(http: Loopback, served: list[Reply]) -> None:
    """The recording says that it has 11: with one less, and the one that plays now, it still has 11 records."""
    answer = recorded("recent_tracks_limit_none")[0][1]
    plays = answer["recenttracks"]["track"]
    plays[:] = [{**plays[0], "@attr": {"nowplaying": "true"}}, *plays[1:]]
    served.append(Reply(answer))
    with pytest.raises(ContractError, match="got 10 of 11"):
        Last(http, user="bbc6music").rows("recent_tracks", Window("2020-02-15T15:00:00Z", "2020-02-15T15:40:00Z"))


def test_a_play_that_is_none_is_refused_and_the_others_are_read(http: Loopback, served: list[Reply]) -> None:
    answer = recorded("recent_tracks_limit_none")[0][1]
    answer["recenttracks"]["track"][3]["date"]["uts"] = "soon"
    answer["recenttracks"]["track"][7] = 7
    served.append(Reply(answer))
    source = Last(http).source
    (recent,) = [one for one in source.streams() if one.name == "recent_tracks"]
    (batch,) = source.read(recent, {"from": 0, "to": None})
    assert batch.rows.num_rows == 9
    assert [(reject.location, reject.reason) for reject in batch.rejects] == [
        ("page 1, record 4", "column 'played_at': not a whole number of seconds since 1970"),
        ("page 1, record 8", "not an object"),
    ]


def test_a_run_ends_at_the_newest_play_and_a_lookback_begins_before_the_last(
    http: Loopback, served: list[Reply]
) -> None:
    """The newest play of the recording was at 1581780986: what is scrobbled later, from then on, is the next run's."""
    served.append(Reply(recorded("recent_tracks_limit_none")[0][1]))
    source = Last(http).source
    (stream,) = [one for one in source.streams() if one.name == "recent_tracks"]
    last, end = 1_581_780_000_000_000, 1_581_780_986_000_001
    plan = source.plan(stream, Window(), {"": last})
    assert (plan.partitions, plan.position) == ([{"from": last, "to": end}], {"": end})
    assert (http.asked[-1].form["limit"], http.asked[-1].form["from"]) == ("1", "1581780000")
    assert source.plan(stream, Window(), plan.position).partitions == []
    again = source.plan(replace(stream, lookback=86_400), Window(), {"": last})
    assert again.partitions == [{"from": last - 86_400_000_000, "to": end}]
    assert again.position == plan.position
