import json
import subprocess
import sys

import pytest

from vitrail.cli import commands
from vitrail.cli.main import main


def vitrail(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "vitrail.cli.main", *words], capture_output=True, text=True, **options
    )


def leaves(table=commands.COMMANDS, path=()):
    for name, command in table.items():
        if command.children:
            yield from leaves(command.children, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["data", "--help"], ["version"]])
def test_help_imports_nothing_heavy(words):
    heavy = ("torch", "transformers", "numpy", "pydantic", "rich", "yaml", "PIL")
    result = vitrail(*words)
    assert result.returncode == 0, result.stderr
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vitrail.cli.main", *words], capture_output=True, text=True
    ).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in listed.splitlines()}
    assert "argparse" in imported and not imported & set(heavy)


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_explains_itself(words, capsys):
    assert main([*words, "--help"]) == 0
    assert f"usage: vitrail {' '.join(words)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "did you mean 'train'?"),
        (["recipe", "lst"], "did you mean 'list'?"),
        (["version", "--jsn"], "did you mean '--json'?"),
        (["completion", "fish"], "invalid choice: 'fish'"),
        (["recipe", "list", "more"], "'more' is one word too many"),
        (["--wrong"], "no option '--wrong'"),
        (["recipe", "show", "quikstart"], "did you mean 'quickstart'?"),
        (["recipe", "show", "nowhere/none.yaml"], "there is no recipe file"),
        (["train", "quickstart", "seed"], "write it as key=value"),
        (["data", "check", "nothing.jsonl"], "there is no file nothing.jsonl"),
    ],
)
def test_wrong_words_are_answered_with_one_sentence_and_2(words, said, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert said in err and "Traceback" not in err and out == ""


def test_nothing_prints_the_help(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_debug_shows_the_traceback():
    plain, debug = vitrail("data", "check", "nothing"), vitrail("--debug", "data", "check", "nothing")
    assert plain.returncode == 2 and "Traceback" not in plain.stderr
    assert debug.returncode == 1 and "Traceback" in debug.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("field x is 3; give 4"), 2, "vitrail: field x is 3; give 4"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), 2, "a.png: no such file"),
        (RuntimeError("disk full"), 1, "RuntimeError: disk full"),
        (ImportError("pip install 'vitrail[scenes]'"), 1, "vitrail[scenes]"),
        (KeyboardInterrupt("go on with: vitrail train --resume"), 130, "go on with"),
    ],
)
def test_exit_codes(monkeypatch, capsys, error, code, said):
    from vitrail.cli import version

    def fail(args):
        raise error

    monkeypatch.setattr(version, "run", fail)
    assert main(["version"]) == code
    assert said in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen(
        f"{sys.executable} -m vitrail.cli.main completion bash | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "0" and "Traceback" not in err and "Exception" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts_name_the_commands(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("quickstart", "recipe", "--resume"))


def test_bash_completes(tmp_path):
    script = tmp_path / "vitrail.bash"
    script.write_text(vitrail("completion", "bash").stdout)
    check = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_version_as_json(capsys):
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vitrail"]


def test_several_processes_may_train_and_nothing_else(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["plan", "nano"]) == 2
    said = capsys.readouterr().err
    assert (
        "vitrail plan runs in one process; vitrail quickstart and vitrail train are what torchrun may" in said
    )
