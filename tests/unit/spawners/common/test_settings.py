from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError

from spawners.common.settings import (
    Address,
    ConfigError,
    Duration,
    HostPort,
    Memory,
    Section,
    check_sections,
    load,
    parse_host_port,
)
from spawners.common.units import parse_duration, parse_memory


class Tls(Section):
    certificate: Path | None = None
    key: Path | None = None


class Hub(Section):
    name: str = "Landbridge"
    port: int = Field(default=8000, ge=0, le=65535)
    bind: Address = parse_host_port("127.0.0.1:8000")
    kind: Literal["demo", "pam", "oidc"] = "demo"
    launch_timeout: Duration = timedelta(minutes=5)
    memory: Memory = 2 * 1024**3
    client_secret: SecretStr | None = None
    admin_token: int | None = None
    tls: Tls = Tls()
    mirrors: tuple[Tls, ...] = ()


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text)
        return path

    return write


def problem_of(path: Path, model=Hub, section="hub") -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, model, section=section)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_a_section_is_read_into_its_model(write):
    hub = load(
        write(
            '[hub]\nname = "X"\nlaunch_timeout = "2h"\nmemory = "4G"\n'
            'bind = "[::1]:80"\n[hub.tls]\nkey = "/k"\n[other]\nx = 1\n'
        ),
        Hub,
        section="hub",
    )
    assert hub.name == "X"
    assert hub.launch_timeout == timedelta(hours=2)
    assert hub.memory == 4 * 1024**3
    assert hub.bind == HostPort("::1", 80)
    assert str(hub.bind) == "[::1]:80"
    assert hub.tls.key == Path("/k")


def test_a_section_that_is_not_there_has_its_defaults(write):
    assert load(write(""), Hub, section="hub") == Hub()


def test_a_nested_section_is_named_with_dots(write):
    path = write('[hub.tls]\nkey = "/k"\n')
    assert load(path, Tls, section="hub.tls").key == Path("/k")


def test_a_section_cannot_be_changed(write):
    with pytest.raises(ValidationError):
        load(write(""), Hub, section="hub").port = 1


def test_an_unknown_key_is_refused_with_the_nearest_name(write):
    text = problem_of(write("[hub]\nprot = 1\n"))
    assert text == "[hub] prot is no setting. Did you mean port?"


def test_an_unknown_key_far_from_all_is_refused_with_all_names(write):
    text = problem_of(write("[hub.tls]\nxxx = 1\n"))
    assert text == "[hub.tls] xxx is no setting. Known are: certificate, key."


def test_an_unknown_key_in_a_list_of_tables_is_found(write):
    text = problem_of(write("[[hub.mirrors]]\ncertificat = 1\n"))
    assert text == (
        "[hub.mirrors.0] certificat is no setting. Did you mean certificate?"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("port = 99999", "[hub] port = 99999: must be less than or equal to 65535."),
        ('port = "x"', "[hub] port = 'x': must be a valid integer"),
        ('kind = "ldap"', "[hub] kind = 'ldap': must be 'demo', 'pam' or 'oidc'."),
        ('launch_timeout = "soon"', "launch_timeout = 'soon': must be a time such as"),
        ('memory = "much"', "memory = 'much': must be an amount such as"),
        ('bind = "8000"', "bind = '8000': must be \"HOST:PORT\""),
        ("tls = 3", "tls = 3: must be a valid dictionary"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(write, line, said):
    assert said in problem_of(write(f"[hub]\n{line}\n"))


@pytest.mark.parametrize(
    "line", ['admin_token = "hunter2hunter2"', 'client_secret = ["hunter2hunter2"]']
)
def test_a_secret_is_never_repeated(write, line):
    text = problem_of(write(f"[hub]\n{line}\n"))
    assert "hunter2" not in text
    assert line.split()[0] in text


def test_all_faults_are_told_at_once(write):
    with pytest.raises(ConfigError) as caught:
        load(write('[hub]\nport = -1\nkind = "x"\n'), Hub, section="hub")
    assert len(caught.value.problems) == 2


def test_a_value_that_must_be_set_is_named(write):
    class Needs(Section):
        url: str

    assert problem_of(write(""), Needs) == "[hub] url must be set."


def test_a_file_that_is_not_there_is_named(tmp_path):
    said = problem_of(tmp_path / "none.toml")
    assert said == "cannot be read: No such file or directory."


def test_broken_toml_tells_the_line(write):
    text = problem_of(write("[hub]\nname = \n"))
    assert "is not valid TOML" in text
    assert "line 2" in text


def test_a_value_where_a_section_belongs_is_refused(write):
    assert problem_of(write("hub = 3\n")) == "[hub] must be a section, not a value."


def test_unknown_sections_are_refused(write):
    path = write("[hub]\n[schedular]\n")
    check_sections(path, {"hub", "schedular"})
    with pytest.raises(ConfigError, match=r"\[schedular\] .* mean scheduler\?"):
        check_sections(path, {"hub", "scheduler"})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("1d 12h", 129_600),
        ("1d12h", 129_600),
        ("30min", 1800),
        ("30 m", 1800),
        ("90s", 90),
        ("0.5h", 1800),
        ("45", 45),
        (45, 45),
        (1.5, 1.5),
        ("2 hours", 7200),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "h", "soon", "-1", -1, True, None, [], "1e9", float("nan"), float("inf"),
     "2h\n#SBATCH", "٣h", "1" * 50, 10**30, "9999999999d"],
)  # fmt: skip
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="must be a time such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 1024**3),
        ("4 GB", 4 * 1000**3),
        ("4gb", 4 * 1000**3),
        ("4.35 GB", 4_350_000_000),
        ("500 MB", 500 * 1000**2),
        ("1B", 1),
        ("4GiB", 4 * 1024**3),
        ("512m", 512 * 1024**2),
        ("1.5T", 1536 * 1024**3),
        ("1024", 1024),
        (1024, 1024),
    ],
)
def test_memory_is_read(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text", ["", "G", "-1G", -1, True, None, 1.5, "4 X", "4G;", "NaN", "٤G", "1" * 50]
)
def test_what_is_no_memory_is_refused(text):
    with pytest.raises(ValueError, match="must be an amount such as"):
        parse_memory(text)


@pytest.mark.parametrize(
    "text",
    ["", "host", ":80", "host:", "host:99999", "host:-1", "::1:80", "[host]:80",
     "a b:80", "host:80\n", 80, "-h:80"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_host_port(text)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_parsers_answer_or_refuse(value):
    for parse in (parse_duration, parse_memory, parse_host_port):
        try:
            parse(value)
        except ValueError as error:
            assert "must be" in str(error)
