"""Fixtures of tests of commands."""

import pytest

from vitrail.cli.main import main


@pytest.fixture
def run(capsys):
    """Run a command line; its exit code, output and errors."""

    def call(*words):
        capsys.readouterr()
        code = main(list(map(str, words)))
        out, err = capsys.readouterr()
        return code, out, err

    return call
