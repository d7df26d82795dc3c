import gc
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from importers.core.memory import give_back, uncollected

MB = 1 << 20


def resident() -> int:
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc" or not Path("/proc").is_dir(), reason="others have no such heap")
def test_what_is_freed_between_what_is_in_use_goes_back_to_the_system():
    blocks = [bytearray(b"x") * (64 << 10) for _ in range(1_600)]
    kept, full = blocks[::50], resident()
    del blocks
    assert resident() > full - 20 * MB, "the heap gives it back by itself: then nobody needs to"
    give_back()
    assert resident() < full - 70 * MB
    assert len(kept) == 32


@pytest.fixture
def collecting() -> Iterator[None]:
    """Whatever the tests' process does."""
    before = gc.isenabled()
    gc.enable()
    yield
    if not before:
        gc.disable()


@pytest.mark.usefixtures("collecting")
def test_of_objects_that_come_meanwhile_nobody_looks_for_cycles():
    passes: list[str] = []
    gc.callbacks.append(lambda phase, info: passes.append(phase))
    try:
        with uncollected():
            before = len(passes)
            made = [[number] for number in range(20_000)]
            meanwhile = len(passes) - before
        more = [[number] for number in range(20_000)]
    finally:
        gc.callbacks.pop()
    assert (meanwhile, len(made), len(more)) == (0, 20_000, 20_000)
    assert len(passes) > before


def _fail() -> None:
    with uncollected(), uncollected():
        raise KeyError


@pytest.mark.usefixtures("collecting")
def test_afterwards_it_is_as_it_was():
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()  # the outer one still lasts
    assert gc.isenabled()
    with pytest.raises(KeyError):
        _fail()
    assert gc.isenabled()
    gc.disable()
    with uncollected():
        assert not gc.isenabled()
    assert not gc.isenabled()
    gc.enable()
