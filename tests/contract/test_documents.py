"""Every command block of the documents is run by a test. (`cargo xtask tidy` checks where their links lead.)"""

import re

import pytest

from documents import ROOT, blocks, documents
from service.test_documents import WITH_A_SERVICE

# Nothing to run: drawings and output, configuration (held against the program), answers.
SHOWN = {"text", "toml", "json"}

# `tests/service/test_operations.py` runs the Python blocks of this one as one program.
GUIDE = "docs/hearth-api.md"


@pytest.mark.parametrize("document", documents())
def test_every_block_is_run_or_says_why_not(document):
    for block in blocks(document):
        assert block.language in SHOWN | {"sh", "python"}, block
        if block.language in SHOWN or block.excuse:
            continue
        is_run = block.is_in_the_lab or document in WITH_A_SERVICE or (document == GUIDE and block.language == "python")
        assert is_run, f"{block}: no test runs it, and no reason is given"


@pytest.mark.parametrize("document", documents())
def test_no_code_hides_in_an_indented_block(document):
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)
    hidden = re.search(r"^\n {4}\S.*$", text, re.MULTILINE)
    assert hidden is None, hidden
