"""The command blocks of the documents, as a reader would run them."""

import os
import pathlib
import shutil
import subprocess

import pytest

from documents import ROOT, documents, blocks, runnable

from .cli import Cli

WITH_A_SERVICE = [
    "README.md",
    "examples/hello/README.md",
    "examples/chat/README.md",
    "examples/multi-stage/README.md",
    "examples/notebook/README.md",
    "docs/guests.md",
    "docs/hearth-api.md",
]

# What a reader is shown by them, where the exit statuses say too little.
SHOWN = {"README.md": ['"greeting": "hello"', "Linux microvm-", "hook run"]}


def script(document):
    """All its blocks, one after the other, in one shell."""
    languages = ("sh",) if document == "docs/hearth-api.md" else ("sh", "python")
    parts = ["set -eu", 'eval "$(hearth env)"']
    for block in runnable(document, *languages):
        if block.is_in_the_lab:
            continue
        parts.append(f"echo '--- {block}'")
        parts.append(block.text if block.language == "sh" else f"python3 - <<'PYTHON'\n{block.text}PYTHON")
    return "\n".join(parts)


@pytest.fixture
def checkout(tmp_path):
    """The working directory of a reader: it contains a copy of the examples."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


@pytest.mark.parametrize("document", WITH_A_SERVICE)
def test_its_commands_do_what_it_says(hearth, hello, checkout, document):
    cli = Cli(hearth)
    tools = [str(pathlib.Path(cli.program).parent), str(pathlib.Path(os.sys.executable).parent)]
    environment = {**cli.environment, "PATH": ":".join([*tools, cli.environment["PATH"]])}
    # The document has to bring its own.
    environment.pop("SSL_CERT_FILE", None)
    before = living(hearth)
    known = images(hearth)
    if "$MICROVM" in script(document):
        environment["MICROVM"] = hearth.run(hello).id
    try:
        ran = subprocess.run(
            ["bash", "-c", script(document)], cwd=checkout, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False,
        )
        assert ran.returncode == 0, ran.stdout
        for shown in SHOWN.get(document, []):
            assert shown in ran.stdout, ran.stdout
        if document == "README.md":
            # `hearth cp` took it out of the microVM.
            assert (checkout / "app.py").read_bytes() == (checkout / "examples/hello/app.py").read_bytes()
    finally:
        for microvm in living(hearth) - before:
            hearth.microvms.terminate_microvm(microvmIdentifier=microvm)
            hearth.wait_microvm(microvm, "TERMINATED")
        for image in images(hearth) - known:
            hearth.microvms.delete_microvm_image(imageIdentifier=image)


def test_configurations_in_the_documents_are_right(hearth, tmp_path):
    cli = Cli(hearth)
    shown = [block for document in documents() for block in blocks(document) if block.language == "toml"]
    assert len(shown) >= 2
    for block in shown:
        file = tmp_path / "hearth.toml"
        file.write_text(block.text)
        cli.run("--config", file, "up", "--print-config")


def living(hearth):
    pages = hearth.microvms.get_paginator("list_microvms").paginate()
    return {item["microvmId"] for page in pages for item in page["items"] if item["state"] != "TERMINATED"}


def images(hearth):
    pages = hearth.microvms.get_paginator("list_microvm_images").paginate()
    return {item["imageArn"] for page in pages for item in page["items"]}
