"""The page's files over HTTP: who gets them, under which policy, and that they need nobody else."""

import re
from importlib.resources import files

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from vitrail.serving import page
from vitrail.serving.gate import Gate
from vitrail.serving.settings import Limits, Serving


def client(**settings):
    app = FastAPI()
    chosen = Serving(name="tested", **settings)
    page.mount(app, chosen)
    return TestClient(Gate(app, chosen, lambda: 1), base_url="http://localhost")


def test_every_file_is_served_and_nothing_else_is_there():
    asking = client()
    names = {file.name for file in files("vitrail.serving.page").joinpath("files").iterdir()}
    assert set(page.FILES.values()) == names
    for path, name in page.FILES.items():
        answer = asking.get(path)
        assert (
            answer.status_code == 200
            and answer.headers["content-type"] == page.KINDS["." + name.split(".")[-1]]
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.content == files("vitrail.serving.page").joinpath("files", name).read_bytes()
    for path in (
        "/page/",
        "/page/__init__.py",
        "/page/../settings.py",
        "/page/%2e%2e/settings.py",
        "/index.html",
    ):
        assert asking.get(path).status_code == 404


def test_a_browser_that_has_it_is_told_so():
    asking = client()
    tag = asking.get("/").headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = asking.get("/", headers={"If-None-Match": known})
        assert again.status_code == 304 and not again.content and again.headers["etag"] == tag
    assert asking.get("/", headers={"If-None-Match": '"other"'}).status_code == 200
    assert asking.head("/").status_code == 200 and not asking.head("/").content


def test_the_policy_lets_nothing_in():
    policy = dict(
        part.split(" ", 1) for part in client().get("/").headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["trusted-types"] == "'none'" and "unsafe" not in str(policy)


@pytest.mark.parametrize("name", sorted(set(page.FILES.values())))
def test_the_files_need_no_other_address_and_write_no_markup(name):
    text = files("vitrail.serving.page").joinpath("files", name).read_text(encoding="utf-8")
    outside = re.sub(r"http://www\.w3\.org/\S+", "", text)
    assert "://" not in outside, "an address of somebody else's"
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text), "the policy forbids it"
        named = set(re.findall(r'(?:src|href)="([^"#]+)', text))
        assert named <= set(page.FILES)
    for module in re.findall(r'from "\./([\w-]+)\.js"', text):
        assert f"/page/{module}.js" in page.FILES


def test_the_key_guards_what_the_server_is_not_what_the_page_is():
    asking = client(key="sesame", limits=Limits(max_tokens=9))
    assert all(asking.get(path).status_code == 200 for path in page.FILES)
    assert asking.get(page.LIMITS).status_code == 401
    told = asking.get(page.LIMITS, headers={"Authorization": "Bearer sesame"})
    assert told.json() == {"body": 32 * 2**20, "images": 64, "pixels": 64_000_000, "max_tokens": 9}


def test_only_the_names_that_the_server_has_get_it():
    asking = client(hosts=("localhost",))
    assert asking.get("/").status_code == 200
    assert asking.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_without_the_page():
    asking = client(page=False)
    assert {asking.get(path).status_code for path in (*page.FILES, page.LIMITS)} == {404}
