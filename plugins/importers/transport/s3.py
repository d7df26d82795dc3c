"""Objects in a bucket: listed by a pattern, read by ranges of one ETag, and what becomes of them afterwards."""

from __future__ import annotations

import fnmatch
import glob
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, cast

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from importers.core.closing import close_kept
from importers.core.connection import Connection
from importers.core.registry import optional
from importers.exceptions import ConfigError, ContractError, FatalSourceError, ImporterError, TransientSourceError
from importers.transport.causes import cause, host_and_port

SCHEME = "s3://"
AHEAD = 1 << 20
"""Bytes that a small read brings along: a request costs as much as a megabyte."""
WRONG_PLACE = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
BUSY = frozenset({"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "Throttling", "ThrottlingException"})
GONE = frozenset({"NoSuchKey", "NotFound", "404"})
"""A HEAD has no body that could say more than 404."""

IN_ONE = 5 * 1024**3
"""Bytes of an object that AWS copies by one request: with the ETag, type and metadata that it has, which parts lose."""

IDENTITIES = ("role_arn", "profile_name")
"""Extras of a connection that name who asks, and that only the hook of Airflow's provider resolves into keys."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it was listed. The ETag is without its quotes; `mtime_ns` is its last modification."""

    path: str
    size: int
    mtime_ns: int
    etag: str


def bucket_and_key(path: str) -> tuple[str, str]:
    """Of `s3://bucket/key`. Raises ConfigError."""
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]", bucket) or not key:
        raise ConfigError(f"'{path[:80]}' doesn't name objects of a bucket", do="write s3://bucket/prefix/*.csv")
    return bucket, key


def matches(pattern: str) -> re.Pattern[str]:
    """A glob of keys as a regular expression: `*` and `?` stay within a `/`, `**/` is any number of directories."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(part) or _one_of(part) for part in parts), re.DOTALL)


def _one_of(part: str) -> str:
    """A set of characters, such as `[a-z]`, or literal text, without the end that translate adds."""
    return fnmatch.translate(part)[: -len(r"\Z")]


class _GoneError(FatalSourceError):
    """The object isn't there."""


class Bucket:
    """Any bucket that one connection may reach. Holds no answer: what it lists is what is there."""

    def __init__(self, connection: Connection | None) -> None:
        """`login` and `password` are the keys. Only `ambient: true` lets boto3 look where AWS documents."""
        self._said: Mapping[str, Any] = connection or {}

    def _identified(self) -> None:
        """Raises ConfigError where the process's own identity would be taken for the connection's, unasked.

        It may be that of the installation's bucket, and `afterwards` deletes.
        """
        for name in IDENTITIES:
            if name in self._said:  # a hook that resolves it takes it away
                what = f"nobody has resolved the connection's `{name}`"
                do = "install apache-airflow-providers-amazon, whose hook does; or give the connection keys instead"
                raise ConfigError(what, do=do)
        if self._said.get("ambient") is not True and not ("login" in self._said and "password" in self._said):
            what = "the connection doesn't say who asks"
            do = 'fill in login and password (a key and its secret), or say `"ambient": true` for the worker\'s role'
            raise ConfigError(what, do=do)

    @cached_property
    def _client(self) -> Any:
        self._identified()
        said = self._said
        boto3, botocore = optional("boto3", "s3"), optional("botocore.config", "s3")
        session = boto3.session.Session(
            aws_access_key_id=said.get("login"),
            aws_secret_access_key=said.get("password"),
            aws_session_token=said.get("aws_session_token"),
            region_name=said.get("region_name"),
        )
        endpoint = said.get("endpoint_url") or said.get("host")
        options = botocore.Config(
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path" if endpoint else "auto"},
            # what other servers than AWS's don't all know
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=10,
            read_timeout=60,
        )
        with _answered("the connection"):
            return session.client("s3", endpoint_url=endpoint, config=options)

    def close(self) -> None:
        close_kept(self, "_client")

    @property
    def _payer(self) -> dict[str, str]:
        return {"RequestPayer": "requester"} if self._said.get("requester_pays") else {}

    def list(self, pattern: str) -> list[Found]:
        """The objects that a glob names, or the one of that key. Raises FatalSourceError or TransientSourceError."""
        bucket, key = bucket_and_key(pattern)
        fixed, fits = re.split(r"[*?[]", key, maxsplit=1)[0], matches(key)
        found: list[Found] = []
        with _answered(f"the bucket '{bucket}'"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=fixed, **self._payer)
            for page in pages:
                found += [
                    _found(f"{SCHEME}{bucket}/{entry['Key']}", entry["Size"], entry)
                    for entry in page.get("Contents", ())
                    if not entry["Key"].endswith("/") and (entry["Key"] == key or fits.fullmatch(entry["Key"]))
                ]
        return found

    def is_still(self, found: Found) -> bool:
        """Whether the object is there, and the one that was listed."""
        try:
            return self.look(found.path).etag == found.etag
        except _GoneError:
            return False

    def look(self, path: str) -> Found:
        """The object as it is now. Raises FatalSourceError if it isn't there."""
        bucket, key = bucket_and_key(path)
        with _answered(f"the object '{path}'"):
            head = self._client.head_object(Bucket=bucket, Key=key, **self._payer)
        return _found(path, head["ContentLength"], head)

    @contextmanager
    def opened(self, found: Found) -> Iterator[BinaryIO]:
        """The bytes at random; raises ContractError as soon as the object isn't the one that was listed."""
        with io.BufferedReader(_Object(self, found), AHEAD) as reader:
            yield cast("BinaryIO", reader)

    @retry(
        retry=retry_if_exception_type(TransientSourceError),
        stop=stop_after_attempt(4),
        wait=wait_random_exponential(max=5),
        reraise=True,
    )
    def range(self, found: Found, start: int, end: int) -> bytes:
        """The bytes [start, end) of the object with that ETag."""
        bucket, key = bucket_and_key(found.path)
        asked = {"Range": f"bytes={start}-{end - 1}", "IfMatch": found.etag, **self._payer}
        with _answered(f"the object '{found.path}'"):
            data: bytes = self._client.get_object(Bucket=bucket, Key=key, **asked)["Body"].read()
        if len(data) != end - start:
            raise TransientSourceError(f"the object '{found.path}' arrived in part", got=f"{len(data):,} bytes")
        return data

    def tagged(self, found: Found, tags: Mapping[str, str]) -> bool:
        """Whether the object is there and has all of the tags."""
        try:
            return tags.items() <= self._tags(found).items()
        except _GoneError:
            return False

    def tag(self, found: Found, tags: Mapping[str, str]) -> None:
        """Add tags to those that the object with that ETag has. S3 has no condition for that: it looks before."""
        if self.is_still(found):
            bucket, key = bucket_and_key(found.path)
            wanted = [{"Key": name, "Value": value} for name, value in (self._tags(found) | dict(tags)).items()]
            with _answered(f"the object '{found.path}'"):
                self._client.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": wanted}, **self._payer)

    def _tags(self, found: Found) -> dict[str, str]:
        bucket, key = bucket_and_key(found.path)
        with _answered(f"the object '{found.path}'"):
            has = self._client.get_object_tagging(Bucket=bucket, Key=key, **self._payer)["TagSet"]
        return {tag["Key"]: tag["Value"] for tag in has}

    def copied(self, found: Found, key: str) -> bool:
        """Copy the object with that ETag to another key of its bucket, on the server. False if it isn't there any more.

        Where another object has the key, it stays, and the ETag is appended: an archive loses nothing. What was
        uploaded in parts has another ETag as a copy: there twice, if a run died before it was deleted.
        """
        if not self.is_still(found):
            return False
        bucket, source = bucket_and_key(found.path)
        transfer = optional("boto3.s3.transfer", "s3")
        there = self.list(f"{SCHEME}{bucket}/{glob.escape(key)}")
        if there and (there[0].etag, there[0].size) != (found.etag, found.size):
            key = f"{key}.{found.etag}"
        with _answered(f"the object '{found.path}'"):
            self._client.copy(
                {"Bucket": bucket, "Key": source},
                bucket,
                key,
                ExtraArgs={"CopySourceIfMatch": found.etag, **self._payer},
                Config=transfer.TransferConfig(multipart_threshold=IN_ONE),
            )
        return True

    def delete(self, found: Found) -> None:
        """Delete the object with that ETag; where the server knows no condition, what was there a moment ago."""
        bucket, key = bucket_and_key(found.path)
        if self.is_still(found):
            with _answered(f"the object '{found.path}'"):
                self._client.delete_object(Bucket=bucket, Key=key, IfMatch=found.etag, **self._payer)


class _Object(io.RawIOBase):
    def __init__(self, bucket: Bucket, found: Found) -> None:
        self._bucket, self._found, self._at = bucket, found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._found.size)
        if end <= self._at:
            return 0
        data = self._bucket.range(self._found, self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _found(path: str, size: int, said: Mapping[str, Any]) -> Found:
    return Found(path, size, int(said["LastModified"].timestamp() * 1_000_000) * 1000, str(said["ETag"]).strip('"'))


@contextmanager
def _answered(what: str) -> Iterator[None]:
    """Say what an answer means for whoever has to act on it; of its text only the code is kept."""
    told = optional("botocore.exceptions", "s3")
    try:
        yield
    except ImporterError:
        raise
    except told.ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise _meaning(what, str(error.response.get("Error", {}).get("Code", "")), status) from None
    except (told.NoCredentialsError, told.PartialCredentialsError):
        raise FatalSourceError(
            f"nothing says who asks for {what}", do="give the connection a key and its secret"
        ) from None
    except (told.NoRegionError, ValueError):
        raise ConfigError(f"{what} can't be reached so", do="correct the endpoint or the region") from None
    except (told.BotoCoreError, OSError) as error:
        asked = host_and_port(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
        at = f", asked for at {asked}," if asked else ""
        raise TransientSourceError(f"{what}{at} can't be reached now", got=cause(error)) from None


def _meaning(what: str, code: str, status: int) -> ImporterError:
    if code == "NoSuchBucket":
        return FatalSourceError(f"{what} isn't there", got=code, do="correct the bucket's name, or have it made")
    if status == 412:
        return ContractError(f"{what} changed while it was read", got=code, do="start a new run")
    if code in BUSY or status >= 500 or status == 429:
        return TransientSourceError(f"{what} can't be reached now", got=f"{code} {status}")
    if code in WRONG_PLACE or status in (301, 307):
        return ConfigError(f"{what} is in another region", got=code, do="correct the region or the endpoint")
    if status in (401, 403):
        return FatalSourceError(
            f"{what} is not for these credentials",
            got=f"{code} {status}",
            do="correct the connection, or allow it s3:ListBucket and s3:GetObject, and what `afterwards` takes",
        )
    if code in GONE:
        return _GoneError(f"{what} is gone", got=code, do="put it back, or correct `path`")
    return FatalSourceError(f"{what} was refused", got=f"{code} {status}", do="look at the connection's settings")
