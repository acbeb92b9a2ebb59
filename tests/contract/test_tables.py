"""The generated tables of the front agree with the installed service models."""

import dataclasses
import pathlib
import subprocess
import sys

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"


def test_generated_files_equal_the_models():
    subprocess.run([sys.executable, str(TOOLS / "model_tables.py"), "--check"], check=True)


def test_functions_can_be_generated(monkeypatch):
    """No operation on functions is answered yet; the day one is, its name is all that the generator needs."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import model_tables

    [functions] = [service for service in model_tables.SERVICES if service.name == "lambda"]
    wanted = {"CreateFunction", "GetFunction", "ListFunctions", "UpdateFunctionConfiguration", "PublishVersion"}
    files = model_tables.render(dataclasses.replace(functions, wanted=wanted.__contains__))
    assert "pub(crate) struct CreateFunctionInput {" in files["lambda/inputs.rs"]
    assert "fn publish_version(" in files["lambda/mod.rs"]
