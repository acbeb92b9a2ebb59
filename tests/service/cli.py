"""Runs the `hearth` program, as users do."""

import json
import os
import subprocess


class Cli:
    """The program, with the data directory of the service under test."""

    program = os.environ.get("HEARTH", "hearth")

    def __init__(self, hearth):
        self.listen = hearth.settings["endpoint_url"].removeprefix("https://")
        # Keys of the developer's own must not matter, nor how they came here: Debian's bash reads ~/.bashrc for scripts, too, where
        # it finds SSH_CLIENT.
        own = ("AWS_", "SSH_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}

    def run(self, *words, status=0, **options):
        options = {"stdin": subprocess.DEVNULL, "env": self.environment, **options}
        if "input" in options:
            del options["stdin"]
        ran = subprocess.run([self.program, *map(str, words)], capture_output=True, timeout=900, **options)
        assert ran.returncode == status, (words, ran.returncode, ran.stdout, ran.stderr)
        return ran

    def text(self, *words, **options):
        return self.run(*words, **options).stdout.decode().strip()

    def json(self, *words, **options):
        return json.loads(self.run(*words, "--json", **options).stdout)

    def error(self, *words, status, **options):
        return self.run(*words, status=status, **options).stderr.decode()
