import platform
from pathlib import Path

import psutil
import pytest

from importers.core.memory import give_back

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
