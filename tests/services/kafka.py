"""A Kafka broker for tests: the one that IMPORTERS_TEST_KAFKA names, else a real one from Maven's jars.

One node in KRaft mode with two listeners: plain, and SASL_SSL with PLAIN as Azure Event Hubs' Kafka endpoint has it
(the user is `$ConnectionString`, the password a connection string), and with OAUTHBEARER, whose tokens nobody signs.
`apt-get install maven` brings Maven and Java.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    PartitionMetadata,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.services.ports import free_ports

POM = Path(__file__).with_name("kafka.xml")
READY = 180.0  # seconds; on a busy machine the virtual machine alone takes several
USER = "$ConnectionString"
PASSWORD = (
    "Endpoint=sb://localhost/;SharedAccessKeyName=RootManageSharedAccessKey;"
    "SharedAccessKey=c2VjcmV0LXNlY3JldC1zZWNyZXQ="
)
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_SSL://localhost:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={home}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
log.cleaner.backoff.ms=200
log.retention.ms=-1
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
num.network.threads=2
num.io.threads=2
background.threads=2
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={home}/server.pem
listener.name.sasl_ssl.ssl.client.auth=none
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,OAUTHBEARER
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={oauth} required unsecuredLoginStringClaim_sub="broker";
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  user_{user}="{password}";
"""
LOGGING = """\
status=error
name=broker
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
logger.server.name=kafka.server
logger.server.level=info
"""


@dataclass
class Kafka:
    """A broker. `address` is its plain listener; one that we didn't start has no other, and can't be stopped."""

    address: str
    sasl_address: str = ""
    authority: str = ""
    """The file with the certificate that signed the SASL listener's."""
    home: Path = field(default_factory=Path)
    jars: Path = field(default_factory=Path)
    quick: bool = True
    """Whether a short start matters more than the speed that comes with time."""
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Again, or for the first time; what runs or was paused goes on. Raises RuntimeError with the log's end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            return
        log = self.home / "server.log"
        with log.open("wb") as out:
            command = _java(self.jars, self.home, "kafka.Kafka", self.home / "server.properties", quick=self.quick)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY
        while b"Kafka Server started" not in log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Kafka didn't start: {log.read_text()[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """As a machine fails: at once, with nothing said to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and answers nobody, until `start`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def topic(self, name: str, partitions: int = 1, **settings: str) -> str:
        """A new topic, which whoever asks is told of. Its name."""
        admin = AdminClient({"bootstrap.servers": self.address})
        admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(READY)
        self._tells_of(admin, name, partitions)
        return name

    def widen(self, topic: str, partitions: int) -> None:
        """The topic has so many from now on, and whoever asks is told so."""
        admin = AdminClient({"bootstrap.servers": self.address})
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(READY)
        self._tells_of(admin, topic, partitions)

    def drop(self, topic: str) -> None:
        """Nobody is told of it afterwards, and another may have its name."""
        admin = AdminClient({"bootstrap.servers": self.address})  # its end would be that of the request
        admin.delete_topics([topic])[topic].result(READY)
        self._tells_of(admin, topic, 0)

    def trim(self, topic: str, before: int) -> None:
        """Of its first partition nothing is left before that offset, as after retention."""
        admin = AdminClient({"bootstrap.servers": self.address})
        admin.delete_records([TopicPartition(topic, 0, before)])[TopicPartition(topic, 0)].result(READY)

    def forbid(self, topic: str) -> None:
        """From now on the user of the SASL listener may not read it."""
        admin = AdminClient({"bootstrap.servers": self.address})
        rule = AclBinding(*_of(topic), f"User:{USER}", "*", AclOperation.READ, AclPermissionType.DENY)
        admin.create_acls([rule])[rule].result(READY)
        self._rules(admin, topic, 1)

    def allow(self, topic: str) -> None:
        """What was forbidden."""
        admin = AdminClient({"bootstrap.servers": self.address})
        rules = _any_of(topic)
        admin.delete_acls([rules])[rules].result(READY)
        self._rules(admin, topic, 0)

    def produce(self, topic: str, *messages: Mapping[str, Any]) -> None:
        """Messages as Producer.produce takes them; all are there when it returns."""
        producer, refused = Producer({"bootstrap.servers": self.address, "linger.ms": 0}), list[KafkaError]()
        for message in messages:
            producer.produce(topic, **message, on_delivery=lambda error, _: refused.append(error) if error else None)
        assert producer.flush(READY) == 0
        assert not refused, refused

    def _rules(self, admin: AdminClient, topic: str, number: int) -> None:
        """Wait until who decides has so many for the topic: for these, too, the controller answers earlier."""
        deadline = time.monotonic() + READY
        while len(admin.describe_acls(_any_of(topic)).result(READY)) != number:
            assert time.monotonic() < deadline, f"there aren't {number} rules for {topic}"
            time.sleep(0.02)

    def _tells_of(self, admin: AdminClient, topic: str, partitions: int) -> None:
        """Wait for it: the controller answers before the broker has heard of what was decided."""
        deadline = time.monotonic() + READY
        while sum(bool(each.leader >= 0) for each in self._partitions(admin, topic)) != partitions:
            assert time.monotonic() < deadline, f"the broker doesn't tell of {partitions} partitions of {topic}"
            time.sleep(0.02)

    @staticmethod
    def _partitions(admin: AdminClient, topic: str) -> Collection[PartitionMetadata]:
        return admin.list_topics(topic, READY).topics[topic].partitions.values()


def _of(topic: str) -> tuple[ResourceType, str, ResourcePatternType]:
    return ResourceType.TOPIC, topic, ResourcePatternType.LITERAL


def _any_of(topic: str) -> AclBindingFilter:
    return AclBindingFilter(*_of(topic), None, None, AclOperation.ANY, AclPermissionType.ANY)


@contextmanager
def kafka_server(*, own: bool = False, quick: bool = True) -> Iterator[Kafka]:
    """A running broker; with `own` one that nobody else uses. Raises RuntimeError where Maven or Java is missing."""
    given = os.environ.get("IMPORTERS_TEST_KAFKA")
    if given and not own:
        yield Kafka(given)
        return
    jars = _jars()
    started = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="importers-kafka-"))
    try:
        kafka = _configured(jars, home, quick)
        kafka.start()
        print(f"Kafka took {time.monotonic() - started:.1f} s to start")
        try:
            yield kafka
        finally:
            kafka.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _configured(jars: Path, home: Path, quick: bool) -> Kafka:
    plain, sasl, controller = free_ports(3)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    # Kafka wants the key in PKCS #8, trustme writes it otherwise.
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    (home / "server.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    authority.cert_pem.write_to_path(str(home / "authority.pem"))
    (home / "log4j2.properties").write_text(LOGGING)
    ports = {"plain": plain, "sasl": sasl, "controller": controller}
    said = {"home": home, "user": USER, "password": PASSWORD, "oauth": OAUTH}
    (home / "server.properties").write_text(PROPERTIES.format(**ports, **said))
    shutil.copytree(_formatted(jars, home), home / "data")
    return Kafka(f"127.0.0.1:{plain}", f"localhost:{sasl}", str(home / "authority.pem"), home, jars, quick)


def _java(jars: Path, home: Path, main: str, *arguments: object, quick: bool = True) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise RuntimeError("there is no java: apt-get install maven")
    settings = ["-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
    settings += ["-XX:TieredStopAtLevel=1"] if quick else []
    logging = f"-Dlog4j2.configurationFile={home}/log4j2.properties"
    return [java, *settings, logging, "-cp", f"{jars}/*", main, *map(str, arguments)]


def kafka_tool(kafka: Kafka, main: str, *arguments: object) -> str:
    """What one of Kafka's own command-line tools says, such as org.apache.kafka.tools.ConsumerPerformance."""
    command = _java(kafka.jars, kafka.home, main, *arguments, quick=False)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _jars() -> Path:
    """Fetched once for each content of the POM, outside the checkout."""
    return _once("kafka", _fetch)


def _fetch(directory: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise RuntimeError("there is no mvn: apt-get install maven")
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={directory}"]
    subprocess.run([maven, "-q", "-B", "-f", POM, *goal], check=True, stdin=subprocess.DEVNULL)


def _formatted(jars: Path, home: Path) -> Path:
    """An empty data folder: to format one takes as long as to start the broker. It knows no port and no certificate."""

    def format_one(directory: Path) -> None:
        properties = (home / "server.properties").read_text().replace(f"{home}/data", str(directory))
        (home / "formatting.properties").write_text(properties)
        arguments = ("format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", home / "formatting.properties")
        subprocess.run(_java(jars, home, "kafka.tools.StorageTool", *arguments), check=True, capture_output=True)

    return _once("kafka-data", format_one)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    return fetched(f"{name}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}", make)


def fetched(name: str, make: Callable[[Path], None]) -> Path:
    """A directory outside the checkout, which is made once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "importers-test"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / f"{name}.made").exists():
            shutil.rmtree(cache / name, ignore_errors=True)
            (cache / name).mkdir()
            make(cache / name)
            (cache / f"{name}.made").touch()
    return cache / name
