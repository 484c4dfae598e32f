"""Which addresses are fetched, and which network addresses are connected to."""

import ipaddress

import pytest

from vitrail.data.fetching.addresses import Hosts, Networks, is_public, target_of
from vitrail.data.fetching.failures import Refused

NOT_PUBLIC = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 255.255.255.255
    192.0.2.1 198.18.0.1 240.0.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 2001:db8::1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::10.0.0.1 ::8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1::1
    2001:0:4136:e378:8000:63bf:f5ff:fffe"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_what_is_not_the_public_internet_is_refused(address):
    assert not is_public(ipaddress.ip_address(address))
    assert not Networks().admits(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert is_public(ipaddress.ip_address(address))


def test_networks_that_are_named():
    networks = Networks(["10.1.0.0/16", "fd00::/8"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        assert networks.admits(ipaddress.ip_address(address))
    for address in ("10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1"):
        assert not networks.admits(ipaddress.ip_address(address))
    with pytest.raises(ValueError, match=r"'lan', which is no network .*; write it as 10\.1\.0\.0/16"):
        Networks(["lan"])


def test_hosts_that_are_named():
    hosts = Hosts(["Example.org", "*.bücher.example", "[2606:2800::1]"])
    for address in ("http://example.org", "https://a.b.bücher.example/x", "http://[2606:2800::1]:8080/"):
        assert hosts.admits(target_of(address).host)
    for address in ("http://a.example.org", "http://bücher.example", "http://badexample.org"):
        assert not hosts.admits(target_of(address).host)
    assert Hosts().admits("anything.example")
    with pytest.raises(ValueError, match=r"'a b', which is no host; write it as example\.org"):
        Hosts(["a b"])


@pytest.mark.parametrize(
    "address, reason",
    [
        ("file:///etc/passwd", "scheme"),
        ("ftp://example.org/a.png", "scheme"),
        ("data:image/png;base64,AA", "scheme"),
        ("gopher://example.org/", "scheme"),
        ("//example.org/a.png", "scheme"),
        ("http:///a.png", "bad address"),
        ("http://user:secret@example.org/a.png", "bad address"),
        ("http://example.org:99999/a.png", "bad address"),
        ("http://[::1/a.png", "bad address"),
        ("http://[fe80::1%25eth0]/a.png", "bad address"),
        ("http://exa mple.org/a.png", "bad address"),
        ("http://example.org:22/a.png", "port"),
        ("http://example.org/\ud800.png", "bad address"),
        ("http://example.org/a b?\udfff", "bad address"),
        ("http://\ud800.example/", "bad address"),
    ],
)
def test_addresses_that_are_refused(address, reason):
    with pytest.raises(Refused) as refused:
        target_of(address, ports=(80, 443))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "address, written",
    [
        ("HTTP://Example.org:80", "http://example.org/"),
        ("https://example.org:8443/a b.png?x=1 2#top", "https://example.org:8443/a%20b.png?x=1%202"),
        ("http://bücher.example/ü%20.png", "http://xn--bcher-kva.example/%C3%BC%20.png"),
        ("http://[2606:2800::1]:8080/a", "http://[2606:2800::1]:8080/a"),
    ],
)
def test_addresses_are_written_one_way(address, written):
    assert target_of(address).address == written
