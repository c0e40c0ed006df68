"""Where a cluster answers and how to log in: what is accepted, split, refused and never printed."""

from pathlib import Path
from typing import Any

import pytest
from proxmoxer.backends.https import Backend
from pydantic import SecretStr, ValidationError

from proxmox_mcp.pve.connection import Connection, Limits, split_host, spread

SECRET = "7f3c1b9e-secret-value"
TOKEN = {"host": "pve", "user": "root@pam", "token_name": "mcp", "token_value": SECRET}
PASSWORD = {"host": "pve", "user": "root@pam", "password": SECRET}
PRINT = "ab" * 32


def connect(**given: Any) -> Connection:
    return Connection(**given)


def faults(**given: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        connect(**given)
    return {str(line["loc"][0]): line["msg"] for line in caught.value.errors()}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pve", "pve", None),
        (" pve.example.com ", "pve.example.com", None),
        ("PVE1.Example.com", "pve1.example.com", None),
        ("pve:443", "pve", 443),
        ("192.0.2.7:8007", "192.0.2.7", 8007),
        ("fe80::1", "fe80::1", None),
        ("[fe80::1]", "fe80::1", None),
        ("[fe80::1]:8007", "fe80::1", 8007),
        ("https://pve:8007/api2/json", "pve", 8007),
        ("https://pve/#v1:0:18", "pve", None),
        ("pve:8007/api2/json", "pve", 8007),
        ("HTTPS://[fe80::1]:8007/", "fe80::1", 8007),
    ],
)
def test_a_host_is_taken_out_of_every_form_people_write(
    text: str, host: str, port: int | None
) -> None:
    assert split_host(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://pve:8006",
        "ftp://pve",
        "https:///api2",
        "https://root:pw@pve",
        "pve x",
        "pve:port",
        "pve:0",
        "pve:70000",
        "-pve",
        "[fe80::1",
        "p\nve",
    ],
)
def test_what_is_no_https_host_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not") as caught:
        split_host(text)

    assert not text or text not in str(caught.value)


def test_plain_http_is_refused_because_tokens_would_travel_in_clear() -> None:
    assert "clear" in faults(**{**TOKEN, "host": "http://pve:8006"})["host"]


@pytest.mark.parametrize(
    ("host", "address"),
    [("pve", "pve:8006"), ("pve:443", "pve:443"), ("fe80::1", "[fe80::1]:8006")],
)
def test_the_address_and_proxmoxers_url_name_the_same_place(host: str, address: str) -> None:
    connection = connect(**{**TOKEN, "host": host})

    backend = Backend(
        connection.host,
        user=connection.user,
        token_name="mcp",
        token_value="x",
        port=connection.port,
    )

    assert connection.address == address
    assert backend.base_url == f"https://{address}/api2/json"


def test_the_same_port_twice_is_fine_and_two_ports_are_not() -> None:
    assert connect(**{**TOKEN, "host": "pve:443", "port": 443}).port == 443
    assert "host" in faults(**{**TOKEN, "host": "pve:443", "port": 8006})["port"]


@pytest.mark.parametrize(
    "login",
    [
        {"user": "u@pam", "token_name": "t", "token_value": SECRET},
        {"user": "u@pam!t", "token_name": "t", "token_value": SECRET},
        {"user": "u@pam!t", "token_value": SECRET},
        {"user": "u@pam", "token_name": "u@pam!t", "token_value": SECRET},
        {"token_name": "u@pam!t", "token_value": SECRET},
        {"token_value": f"u@pam!t={SECRET}"},
        {"token_value": f"PVEAPIToken=u@pam!t={SECRET}"},
        {"user": "u@pam!t", "token_name": "t", "token_value": f"PVEAPIToken=u@pam!t={SECRET}"},
        {"token_value": SecretStr(f"PVEAPIToken=u@pam!t={SECRET}")},
    ],
)
def test_every_way_to_write_a_token_gives_the_same_login(login: dict[str, Any]) -> None:
    connection = connect(host="pve", **login)

    assert (connection.user, connection.token_name) == ("u@pam", "t")
    assert connection.token_value is not None
    assert connection.token_value.get_secret_value() == SECRET
    assert connection.identity == "u@pam!t"


@pytest.mark.parametrize(
    ("login", "setting"),
    [
        ({"user": "u@pam!t", "token_name": "s", "token_value": SECRET}, "token_name"),
        ({"user": "u@pam!s", "token_name": "u@pam!t", "token_value": SECRET}, "token_name"),
        ({"user": "v@pam", "token_name": "u@pam!t", "token_value": SECRET}, "user"),
        ({"user": "v@pam", "token_value": f"u@pam!t={SECRET}"}, "user"),
        ({"token_name": "s", "token_value": f"u@pam!t={SECRET}"}, "token_name"),
    ],
)
def test_two_different_identities_in_one_login_are_an_error(
    login: dict[str, Any], setting: str
) -> None:
    assert "differently" in faults(host="pve", **login)[setting]


@pytest.mark.parametrize(
    ("login", "setting", "words"),
    [
        ({"user": "u@pam", "token_name": "t"}, "token_value", "missing"),
        ({"user": "u@pam", "token_value": SECRET}, "token_name", "missing"),
        ({"user": "u@pam"}, "token_value", "or password"),
        ({"token_name": "t", "token_value": SECRET}, "user", "missing"),
        (
            {"user": "u@pam", "token_name": "t", "token_value": SECRET, "password": SECRET},
            "password",
            "one way",
        ),
        ({"user": "u@pam", "token_name": "t", "password": SECRET}, "password", "one way"),
        ({"user": "u@pam!t", "token_value": SECRET, "otp": "123456"}, "otp", "password"),
    ],
)
def test_anything_but_one_whole_login_is_refused_by_name(
    login: dict[str, Any], setting: str, words: str
) -> None:
    assert words in faults(host="pve", **login)[setting]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("user", "root"),
        ("user", "root@"),
        ("user", "a b@pam"),
        ("token_name", "to ken"),
        ("token_value", ""),
        ("token_value", f"{SECRET}\nX-Header: 1"),
        ("port", 0),
        ("port", 65536),
        ("port", True),
        ("port", "8006"),
        ("timeout", 0),
        ("timeout", float("inf")),
        ("timeout", True),
        ("connect_timeout", -1),
        ("fingerprint", "ab" * 31),
        ("fingerprint", "zz" * 32),
        ("verify_ssl", 3),
        ("verify_ssl", "ca.pem"),
        ("verify_ssl", "/nowhere/ca.pem"),
        ("verify_ssl", "/"),
        ("cert", "client.pem"),
        ("path_prefix", "../access"),
        ("path_prefix", "pve?x=1"),
        ("service", "PBS"),
        ("backend", "ssh_paramiko"),
        ("mode", "png"),
        ("proxies", "http://proxy"),
        ("verify_tls", True),
    ],
)
def test_a_bad_value_is_refused_under_its_own_name(setting: str, value: object) -> None:
    assert set(faults(**{**TOKEN, setting: value})) == {setting}


@pytest.mark.parametrize(
    ("setting", "value", "kept"),
    [
        ("verify_ssl", "No", False),
        ("verify_ssl", "on", True),
        ("service", "pve", "PVE"),
        ("backend", "HTTPS", "https"),
        ("mode", "JSON", "json"),
        ("path_prefix", "/pve/", "pve"),
        ("timeout", 7, 7.0),
        ("fingerprint", PRINT, ":".join(["AB"] * 32)),
        ("fingerprint", ":".join(["ab"] * 32), ":".join(["AB"] * 32)),
    ],
)
def test_a_value_is_kept_in_one_normal_form(setting: str, value: object, kept: object) -> None:
    assert getattr(connect(**{**TOKEN, setting: value}), setting) == kept


def test_an_existing_ca_file_is_accepted(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()

    assert connect(**TOKEN, verify_ssl=str(ca)).verify_ssl == str(ca)
    assert set(faults(**TOKEN, verify_ssl=str(tmp_path))) == {"verify_ssl"}


def test_a_pin_makes_verification_off_acceptable() -> None:
    connection = connect(**TOKEN, verify_ssl=False, fingerprint=PRINT)

    assert connection.fingerprint is not None
    assert connection.verify_ssl is False


def test_all_faults_are_reported_at_once() -> None:
    found = faults(host="http://pve", user="root", token_value=SECRET, port=0, backend="local")

    assert set(found) == {"host", "user", "token_name", "port", "backend"}


@pytest.mark.parametrize(
    "given",
    [
        {**TOKEN, "user": SECRET, "host": f"https://{SECRET}@pve", "port": SECRET},
        {**TOKEN, "password": SECRET, "otp": SECRET, "verify_ssl": SECRET},
        {"password": SECRET, "fingerprint": SECRET, "token_name": f"a b{SECRET}", "cert": SECRET},
        {"token_value": [SECRET], "proxies": {"https": [SECRET]}, "mode": SECRET},
    ],
)
def test_no_fault_repeats_the_value_it_is_about(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        connect(**given)

    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_no_way_of_printing_a_connection_shows_a_secret() -> None:
    connection = connect(
        **PASSWORD, otp=f"{SECRET}-otp", proxies={"https": f"http://me:{SECRET}@proxy:3128"}
    )

    for shown in (
        repr(connection),
        str(connection),
        f"{connection}",
        str(connection.model_dump()),
        str(connection.model_dump(mode="json")),
        connection.model_dump_json(),
    ):
        assert SECRET not in shown
    assert "proxy:3128" in connection.model_dump_json()


def test_secrets_lists_what_has_to_stay_out_of_logs() -> None:
    connection = connect(**PASSWORD, otp="123456", proxies={"https": "http://me:p4ssw@proxy:3128"})

    assert connection.secrets == (SECRET, "123456", "p4ssw")
    assert connect(**TOKEN).secrets == (SECRET,)


def test_a_password_login_is_identified_by_its_user() -> None:
    assert connect(**PASSWORD).identity == "root@pam"


def test_a_connection_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        connect(**TOKEN).host = "other"


def test_spreading_twice_changes_nothing() -> None:
    once, found = spread({"host": "https://pve:443/", "token_value": f"u@pam!t={SECRET}"})

    assert found == []
    assert once == {
        "host": "pve",
        "port": 443,
        "user": "u@pam",
        "token_name": "t",
        "token_value": SECRET,
    }
    assert spread(once) == (once, [])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("retry_attempts", 0),
        ("retry_attempts", 11),
        ("retry_delay", -0.1),
        ("retry_delay", 60.1),
        ("retry_total", 0),
        ("rate_per_second", 0),
        ("rate_burst", 0),
        ("max_parallel", 0),
        ("max_parallel", 65),
        ("max_parallel", "8"),
    ],
)
def test_a_limit_outside_its_range_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Limits(**{setting: value})

    assert caught.value.errors()[0]["loc"] == (setting,)


def test_the_limits_default_to_what_a_small_cluster_bears() -> None:
    assert Limits().model_dump() == {
        "retry_attempts": 3,
        "retry_delay": 0.5,
        "retry_total": 30.0,
        "rate_per_second": 10.0,
        "rate_burst": 100,
        "max_parallel": 8,
    }
