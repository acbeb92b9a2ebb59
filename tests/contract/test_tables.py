"""The generated tables of the front agree with the installed service models."""

import pathlib
import subprocess
import sys

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"


def test_generated_files_equal_the_models():
    subprocess.run([sys.executable, str(TOOLS / "model_tables.py"), "--check"], check=True)


def test_every_operation_on_functions_is_answered_or_refused(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import model_tables

    [functions] = [service for service in model_tables.SERVICES if service.name == "lambda"]
    model, _ = model_tables.load(functions)
    constraints = model_tables.render(functions)["lambda/constraints.rs"]
    answered, refused = constraints.split("static REFUSED", 1)
    for name in model.operation_names:
        part = answered if functions.wanted(name) else refused
        assert f'name: "{name}"' in part, name
