"""What the Dockerfile promises, read off its text: no daemon is needed."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """Instructions in order, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def dockerfile() -> list[Instruction]:
    return instructions((ROOT / "Dockerfile").read_text("utf-8"))


@pytest.fixture(scope="module")
def final(dockerfile: list[Instruction]) -> list[Instruction]:
    """The stage that becomes the image."""
    last = max(i for i, one in enumerate(dockerfile) if one.name == "FROM")
    return dockerfile[last:]


def rests(found: list[Instruction], name: str) -> list[str]:
    return [one.rest for one in found if one.name == name]


def exec_form(text: str) -> list[str]:
    parsed = json.loads(text[text.index("[") :])
    assert isinstance(parsed, list) and all(isinstance(word, str) for word in parsed)
    return parsed


def environment(found: list[Instruction]) -> dict[str, str]:
    pairs = (word.partition("=") for rest in rests(found, "ENV") for word in shlex.split(rest))
    return {name: value for name, _, value in pairs}


def test_continued_lines_are_one_instruction() -> None:
    text = "# note\nFROM a AS b\nRUN c \\\n    && d\n"
    assert instructions(text) == [("FROM", "a AS b"), ("RUN", "c && d")]


def test_there_are_two_stages_of_one_base_with_a_version(dockerfile: list[Instruction]) -> None:
    build, image = rests(dockerfile, "FROM")
    assert build == f"{image} AS build"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", image)


def test_the_image_runs_as_user_10001_without_a_shell(final: list[Instruction]) -> None:
    assert rests(final, "USER") == ["10001:10001"]
    (made,) = [rest for rest in rests(final, "RUN") if "useradd" in rest]
    for word in ("--uid 10001", "--gid 10001", "--no-create-home", "/usr/sbin/nologin"):
        assert word in made


def test_nothing_is_run_or_copied_after_the_user_is_set(final: list[Instruction]) -> None:
    names = [one.name for one in final]
    assert not {"RUN", "COPY", "ADD", "USER"} & set(names[names.index("USER") + 1 :])


def test_the_command_is_in_exec_form_and_exists(final: list[Instruction]) -> None:
    (command,) = rests(final, "CMD")
    assert exec_form(command) == ["python", "-m", "api"]
    assert (ROOT / "api" / "__main__.py").is_file()
    assert not rests(final, "ENTRYPOINT")
    assert rests(final, "STOPSIGNAL") == ["SIGTERM"]


def test_the_health_check_asks_the_service_itself(final: list[Instruction]) -> None:
    (check,) = rests(final, "HEALTHCHECK")
    program, flag, code = exec_form(check)
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    assert "/health/live" in code
    timeout_s = re.search(r"--timeout=(\d+)s", check)
    inner_s = re.search(r"timeout=(\d+)\)", code)
    assert timeout_s and inner_s and int(inner_s[1]) < int(timeout_s[1])


def test_the_port_of_the_check_is_the_one_that_is_served(final: list[Instruction]) -> None:
    from api.settings import Settings

    port = Settings.model_fields["port"].default
    assert rests(final, "EXPOSE") == [str(port)]
    assert f"127.0.0.1:{port}/" in rests(final, "HEALTHCHECK")[0]


def test_the_environment_names_settings_that_exist(final: list[Instruction]) -> None:
    from api.settings import Settings

    names = {name for name in environment(final) if name.startswith("TSIMPUTE_")}
    assert names == {"TSIMPUTE_HOST", "TSIMPUTE_MODELS_DIR"}
    assert {name.removeprefix("TSIMPUTE_").lower() for name in names} <= set(Settings.model_fields)


def test_no_key_is_asked_away_or_built_in(dockerfile: list[Instruction]) -> None:
    text = "\n".join(one.rest for one in dockerfile)
    assert not re.search(r"ALLOW_ANONYMOUS|API_KEY|ADMIN_KEY|PASSWORD|TOKEN", text)


def test_versions_come_from_the_lock_with_the_build_of_torch_added(
    dockerfile: list[Instruction],
) -> None:
    assert "TORCH_BUILD=cpu" in rests(dockerfile, "ARG")
    (made,) = [rest for rest in rests(dockerfile, "RUN") if "sed " in rest]
    script = re.search(r'sed "s/(.*?)/&\+\$\{TORCH_BUILD\}/" requirements\.lock', made)
    assert script
    pins = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    assert len([pin for pin in pins if re.match(script[1], pin)]) == 1


def test_every_installation_keeps_to_the_lock_and_leaves_no_cache(
    dockerfile: list[Instruction],
) -> None:
    installs = [rest for rest in rests(dockerfile, "RUN") if " install " in rest]
    assert len(installs) == 2
    for one in installs:
        assert "--constraint constraints.txt" in one
        assert "--no-cache-dir" in one


def test_no_place_to_download_from_is_written_down() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert set(re.findall(r"https?://[\w.:-]+", text)) == {"http://127.0.0.1:8000"}


def test_only_what_is_copied_is_sent_to_the_builder(dockerfile: list[Instruction]) -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copies = [rest.split() for rest in rests(dockerfile, "COPY") if "--from" not in rest]
    assert sent == {source for words in copies for source in words[:-1]}
    assert all((ROOT / source).exists() for source in sent)


# What hadolint would say of such a file, for those without it.
@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("DL3002 the last user is not root", r"(?m)^USER (root|0)\b"),
        ("DL3003 WORKDIR instead of cd", r"\bcd /"),
        ("DL3004 no sudo", r"\bsudo\b"),
        ("DL3006 DL3007 a tag, and not the latest", r"(?m)^FROM (\S+:latest|[^:\s]+)(\s|$)"),
        ("DL3008 DL3015 no system packages without versions", r"\bapt(-get)? install\b"),
        ("DL3020 COPY instead of ADD", r"(?m)^ADD "),
        ("DL3025 commands in exec form", r"(?m)^(CMD|ENTRYPOINT) [^\[]"),
        ("DL4000 no MAINTAINER", r"(?m)^MAINTAINER"),
        ("DL4006 no pipe without pipefail", r"[^|]\|[^|]"),
    ],
)
def test_the_rules_of_hadolint(dockerfile: list[Instruction], rule: str, pattern: str) -> None:
    text = "\n".join(f"{one.name} {one.rest}" for one in dockerfile)
    assert not re.search(pattern, text), rule


def test_useradd_writes_no_sparse_login_log(final: list[Instruction]) -> None:
    assert "--no-log-init" in next(rest for rest in rests(final, "RUN") if "useradd" in rest)
