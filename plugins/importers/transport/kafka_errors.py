"""Errors of librdkafka, and what they ask of their reader.

Told by name: the client is an extra, and its errors know their codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from importers.exceptions import ContractError, FatalSourceError, ImporterError, TransientSourceError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

SLICE = 2.0  # seconds after which a call that isn't answered is interrupted, to hear whether it was refused
_GONE = ("_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE")
_LED = ("_UNKNOWN_PARTITION", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE")
_REFUSED = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED")
_FORBIDDEN = ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED")
_UNTRUSTED = ("_SSL",)
_ABSENT = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC")
_DELETED = ("OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET")


def _is(error: KafkaError, names: tuple[str, ...]) -> bool:
    return error.code() in (getattr(error, name) for name in names)


def refuses(error: KafkaError) -> bool:
    """Whether the client will never get in: only its callback is told so."""
    return error.fatal() or _is(error, ("_AUTHENTICATION", *_UNTRUSTED))


def passes(error: KafkaError) -> bool:
    """Whether librdkafka gets over it by itself, unless it lasts.

    We ask only for partitions that the broker has named: one that librdkafka doesn't know, or asks another broker for,
    is one whose leader has changed or is lost for the moment.
    """
    return _is(error, (*_GONE, *_LED))


def remedy(error: KafkaError, doing: str) -> ImporterError:
    """By what the reader has to do. Names the error's code, never its text: that may quote a setting."""
    got = error.name()
    for names, cls, what, do in (
        (_REFUSED, FatalSourceError, "it refuses these credentials", "check the connection's user and password"),
        (_FORBIDDEN, FatalSourceError, "this user may not do that", "ask for the right to read topic and group"),
        (_UNTRUSTED, FatalSourceError, "no trusted connection is possible", "check ssl.ca.location and the host"),
        (_ABSENT, FatalSourceError, "there is no such topic or partition", "correct `topic`"),
        (_DELETED, ContractError, "messages were deleted before they were read", "start a new run"),
    ):
        if _is(error, names):
            return cls(f"Kafka failed while {doing}: {what}", got=got, do=do)
    if error.fatal():
        return FatalSourceError(f"Kafka failed while {doing}", got=got, do="correct the connection's settings")
    return TransientSourceError(f"Kafka failed while {doing}", got=got, do="see that the broker runs, then run again")


def messages_only(got: Sequence[Message], ends: dict[int, int]) -> list[Message]:
    """Without the events; where one says that a partition ends, `ends` is told. Raises what is an error, and stays."""
    messages = []
    for each in got:
        error = each.error()
        if error is None:
            messages.append(each)
        elif error.code() == error._PARTITION_EOF:
            ends[each.partition() or 0] = each.offset() or 0
        elif not passes(error):
            raise remedy(error, "reading")
    return messages
