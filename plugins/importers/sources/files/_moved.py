"""What a position says of files, and which that were loaded lie elsewhere now, or are named otherwise by `path`: those
aren't read again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

from importers.core.model import JSON, Position
from importers.exceptions import ContractError
from importers.transport.files import File

LOADED_AS = "loaded_as"
"""Says in a lane's value which lane the file was loaded as."""
MEMBERS = "members"
"""Says in an archive's which members of it were loaded; older versions didn't."""
Content: TypeAlias = tuple[Any, ...]


def values(files: Sequence[File], inside: Sequence[File]) -> dict[str, JSON]:
    """What is said of loaded files by lane; `inside` are the files, or their members."""
    members: dict[str, list[JSON]] = defaultdict(list)
    for part in inside:
        if part.member:
            members[part.lane].append(part.member)
    more = {lane: {MEMBERS: names} for lane, names in members.items()}
    return {file.lane: {**file.identity, **more.get(file.lane, {})} for file in files}


def was_loaded(file: File, known: JSON) -> bool:
    """Whether the file, or that member of it, was loaded where it lies: `known` is what its lane says, if anything."""
    if not isinstance(known, Mapping) or LOADED_AS in known:
        return False
    return not file.member or file.member in cast("Sequence[str]", known.get(MEMBERS, ()))


class Moved(NamedTuple):
    """What a position doesn't have yet of files that were loaded as another lane, and what is to be said of them."""

    position: dict[str, dict[str, JSON]]
    notes: tuple[str, ...] = ()


NOTHING = Moved({})


def moved(listed: Sequence[File], position: Position) -> Moved:
    """Which files were loaded as another lane, whose file has gone from there; two that are there are two.

    Raises ContractError where one has gone and several may be it: to load rows twice is as bad as to lose them.
    """
    new = [file for file in listed if file.lane not in position]
    names = {_name(file.lane) for file in new}
    gone = _gone(
        [file for file in listed if _name(file.lane) in names],
        {lane: known for lane, known in position.items() if _name(lane) in names},
    )
    alike: dict[Content, list[File]] = defaultdict(list)
    for file in new:
        alike[_content(file.lane, file.identity)].append(file)
    found: dict[str, dict[str, JSON]] = {}
    copies = list[File]()
    left = {_but_time(content) for content, lanes in gone.items() if len(lanes) > len(alike.get(content, ()))}
    for content, files in alike.items():
        lanes, has_etag = gone.get(content, []), bool(files[0].etag)
        if len(files) > len(lanes) > 0 and not has_etag:  # which says that it doesn't matter which of them it is
            raise _may_be_either(files, lanes[0])
        found |= {f.lane: {**f.identity, LOADED_AS: lane} for f, lane in zip(files, lanes, strict=False)}
        copies += files if has_etag and not lanes and _but_time(content) in left else []
    notes = (_told([f for f in new if f.lane in found], _NOT_READ), _told(copies, _AS_NEW))
    return Moved(found, tuple(filter(None, notes)))


_NOT_READ = "moved since loaded, or named otherwise by `path`, and not read again"
_AS_NEW = "like a loaded one that has gone, of equal content but another time, and read as a new one"


def _gone(listed: Sequence[File], position: Position) -> dict[Content, list[str]]:
    """By content the lanes of loaded files that are listed neither there nor, as moved before, elsewhere."""
    there = {_load(f.lane, position[f.lane]) for f in listed if f.is_still(position.get(f.lane))}
    gone: dict[Content, list[str]] = defaultdict(list)
    for content, lane in dict.fromkeys(_load(lane, known) for lane, known in position.items()):
        if (content, lane) not in there:
            gone[content].append(lane)
    return gone


def _load(lane: str, known: JSON) -> tuple[Content, str]:
    """What was loaded, and as which lane."""
    said = known if isinstance(known, Mapping) else {}
    return _content(lane, said), str(said.get(LOADED_AS, lane))


def _content(lane: str, known: Mapping[str, JSON]) -> Content:
    """Of an object with its time, too: one of equal content may as well be another day's."""
    return _name(lane), known.get("size"), known.get("etag"), known.get("mtime_ns")


def _name(lane: str) -> str:
    return lane.rpartition("/")[2]


def _but_time(content: Content) -> Content:
    return content[:-1]


def _may_be_either(files: Sequence[File], lane: str) -> ContractError:
    return ContractError(
        f"'{files[0].path}' and '{files[1].path}' are both like the file that was loaded as '{lane}' and has gone",
        got=f"{len(files)} of that name, of {files[0].state}",
        do="`touch` each that wasn't loaded: by its time it is a new one",
    )


def _told(files: Sequence[File], what: str) -> str:
    many = "a file is" if len(files) == 1 else f"{len(files):,} files are"
    return f"{many} {what}, such as '{files[0].path}'" if files else ""
