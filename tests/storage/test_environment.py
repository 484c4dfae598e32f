import getpass
import json
import platform
import subprocess
import sys

from vitrail.storage import environment


def test_the_description_is_json_and_names_nobody():
    described = environment.describe()
    text = json.dumps(described)
    assert described["python"] == platform.python_version()
    assert described["cpu"] and described["cores"] >= 1
    assert {"torch", "transformers", "numpy"} <= set(described["packages"])
    for secret in (platform.node(), "/work", "/home", "/root"):
        assert secret not in text
    assert getpass.getuser() not in [value for value in described.values() if isinstance(value, str)]
    assert environment.describe()["fingerprint"] == described["fingerprint"]


def test_the_fingerprint_follows_what_bits_depend_on():
    described = environment.describe()

    def changed(**fields):
        return environment.fingerprint({**described, **fields})

    assert changed(commit="other", memory_gib=1) == described["fingerprint"]
    for field in (
        {"cpu": "x"},
        {"cores": 999},
        {"threads": 999},
        {"packages": {"torch": "0"}},
        {"devices": ["x"]},
    ):
        assert changed(**field) != described["fingerprint"]


def test_packages_that_are_not_installed_are_left_out():
    assert environment.versions(("numpy", "no-such-package-here")).keys() == {"numpy"}


def test_describing_imports_nothing_heavy():
    code = (
        "import sys; from vitrail.storage.environment import describe; describe();"
        "print([m for m in ('torch', 'transformers', 'numpy', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_commit_of_somebody_elses_repository_is_not_ours(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "environment.py").write_text("x")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert environment._commit() is None
    git("add", "environment.py")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    clean = environment._commit()
    assert len(clean) == 40
    (tmp_path / "environment.py").write_text("y")
    assert environment._commit() == clean + "+"
