"""Large code in a request: up to 50 MB, where other requests are limited to 6 MB. Numbers are those of the facts, section 9.1."""

import os

import pytest

from .checked import refusal
from .functions import Deployer, new_name, zipped


@pytest.fixture
def deployer(functions, server):
    return Deployer(functions, server)


def stored(bytes_of_content):
    """A zip that is about as large as its content, which is random."""
    return zipped({"index.py": "", "data": os.urandom(bytes_of_content)})


def test_inline_zips_of_many_megabytes_are_taken(deployer):
    """22."""
    data = stored(30 << 20)
    assert deployer.create(Code={"ZipFile": data})["CodeSize"] == len(data)


def test_a_zip_of_more_than_50_mb_is_refused(deployer):
    error = refusal(deployer.create, name=new_name(), Code={"ZipFile": stored(52_428_801)})
    assert error == (413, "RequestEntityTooLargeException", "Zipped size must be smaller than 52428800 bytes")
