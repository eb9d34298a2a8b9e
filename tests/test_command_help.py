"""What a newcomer reads: --help of the program and its commands, and what --debug shows."""

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from squeezenet_c.cli import main
from squeezenet_c.cli.groups import GROUPS
from squeezenet_c.cli.main import COMMANDS, _parser

NAMES = [name for commands in COMMANDS.values() for name in commands]


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def options() -> Iterator[tuple[str, argparse.ArgumentParser, argparse.Action]]:
    """Of all commands, that --help shows."""
    for name, parser in parsers().items():
        for action in parser._actions:
            if action.option_strings and action.help != argparse.SUPPRESS:
                yield name, parser, action


def shown(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option's lines of its command's help, on one line."""
    formatter = parser._get_formatter()
    formatter.add_argument(action)
    return re.sub(r"\s+", " ", formatter.format_help())


def test_the_programs_help_lists_all_commands_in_groups(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert list(parsers()) == NAMES
    places = []
    for title, commands in COMMANDS.items():
        places.append(said.index(f"\n{title}:\n"))
        for name, (_, text) in commands.items():
            (line,) = re.findall(rf"^  {name} .*$", said, re.MULTILINE)
            assert line.endswith(text) and len(line) <= 80
            places.append(said.index(line))
    assert places == sorted(places)
    assert "{train," not in said


def test_every_option_says_what_it_is_and_its_default_once() -> None:
    seen = 0
    for name, parser, action in options():
        said = shown(parser, action)
        where = f"{name} {action.option_strings[0]}: {said}"
        assert action.help, where
        assert said.count("default") <= 1, where
        if action.default in (argparse.SUPPRESS, None) or action.nargs == 0:  # 0: a switch
            continue
        value = f"{action.default:g}" if isinstance(action.default, float) else action.default
        assert re.search(rf"\(default: {re.escape(str(value))}(\.0)?\b", said), where
        seen += 1
    assert seen > 20


def test_options_without_a_default_say_what_happens_then() -> None:
    """Those that take a value and may be left out: what is then done is said in words, or nothing
    is, as of a file that is written or of pictures that are looked at besides."""
    nothing = {"--out", "--plot", "--state", "--resume", "--resume-from", "--pretrained", "--json"}
    nothing |= {
        "--verify",
        "--calibrate",
        "--training-data",
        "--plan",
        "--sensitivity",
        "--specificity",
    }
    for name, parser, action in options():
        takes = action.nargs != 0 and not action.required
        if takes and action.default is None and not nothing & set(action.option_strings):
            assert "default" in shown(parser, action), f"{name} {action.option_strings[0]}"


def test_options_stand_in_groups() -> None:
    for name, parser, action in options():
        (title,) = (
            found.title for found in parser._action_groups if action in found._group_actions
        )
        assert title in GROUPS, f"{name} {action.option_strings[0]} is in {title}"


@pytest.mark.parametrize("command", NAMES)
def test_help_and_usage_are_short(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert raised.value.code == 0
    usage = said.partition("\n\n")[0]
    assert usage.startswith(f"usage: squeezenet-c {command} ") and len(usage) < 160
    assert "[OPTION ...]" in usage


@pytest.mark.parametrize("place", [0, 1, 3])
def test_debug_shows_the_traceback(place: int, capsys: pytest.CaptureFixture) -> None:
    arguments = ["predict", "no-such-model", "a.jpg"]
    assert main(arguments) == 1
    sentence = capsys.readouterr().err
    assert sentence.startswith("squeezenet-c: ") and sentence.count("\n") == 1
    arguments.insert(place, "--debug")
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)") and "Model.load" in said
    assert "FileNotFoundError" in said and "squeezenet-c: " not in said


# -- Completion ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("shell") / "completion.sh"
    path.write_text(said.getvalue())
    return path


def completions(line: str, folder: Path, shell_code: Path) -> set[str]:
    """What bash would offer at the end of the line."""
    words = line.split(" ")
    script = f"""
        source '{shell_code}'
        complete -p squeezenet-c >&2
        COMP_WORDS=({" ".join(word or "''" for word in words)}) COMP_CWORD={len(words) - 1}
        COMP_LINE='{line}' COMP_POINT={len(line)} COMP_TYPE=9
        _python_argcomplete squeezenet-c "${{COMP_WORDS[COMP_CWORD]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert "_python_argcomplete squeezenet-c" in result.stderr, result.stderr
    return {word.strip() for word in result.stdout.splitlines()} - {""}


def test_bash_completes(tmp_path: Path, shell_code: Path) -> None:
    for name in ("pictures", "palms"):
        (tmp_path / name).mkdir()
    assert completions("squeezenet-c t", tmp_path, shell_code) == {"train", "threshold"}
    assert completions("squeezenet-c sweep --arch ", tmp_path, shell_code) == {"1_0", "1_1"}
    assert completions("squeezenet-c train --epochs ", tmp_path, shell_code) == set()
    assert completions("squeezenet-c train pi", tmp_path, shell_code) == {"pictures/"}
    assert completions("squeezenet-c predict pa", tmp_path, shell_code) == {"palm", "palms/"}


def test_completion_needs_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    assert main(["completion", "bash"]) == 1
    assert 'pip install "squeezenet_c[completion]"' in capsys.readouterr().err
