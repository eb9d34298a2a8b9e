"""How a command's --help is laid out: options in groups, each with its default."""

import argparse
from collections.abc import Mapping
from typing import Any

# The groups, in the order in which they are shown; those that a command has no option of are not.
GROUPS = (
    "data",
    "network",
    "training",
    "learning rate and loss",
    "augmentation",
    "threshold and confidence",
    "output",
    "computing",
    "general",
)


class HelpFormatter(argparse.HelpFormatter):
    """A usage line of what must be given alone, and each option's default behind its help, where
    this does not say it in words of its own."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        needed = [action for action in actions if action.required or not action.option_strings]
        if len(needed) < len(actions):
            needed.insert(0, argparse.Action([], "options", nargs="?", metavar="OPTION ..."))
        super().add_usage(usage, needed, [], prefix)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help
        if not said or "default" in said or not action.option_strings:
            return said
        if action.default is None or action.default is False:
            return said
        return said if action.default == argparse.SUPPRESS else f"{said} (default: %(default)s)"

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        """Of an option that names none: they are all numbers."""
        return "N"


def add_groups(parser: argparse.ArgumentParser) -> None:
    """All groups, empty, so that they come in their order whoever adds options first."""
    parser._positionals.title = "arguments"
    for title in GROUPS:
        parser.add_argument_group(title)


def group(parser: argparse.ArgumentParser, title: str) -> Any:
    """The group of a command's parser, one of GROUPS, for its add_argument. A parser of somebody
    else's gets a group of that title."""
    assert title in GROUPS, title
    for found in parser._action_groups:
        if found.title == title:
            return found
    return parser.add_argument_group(title)


class CommandsFormatter(HelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Of the program's own help, in which add_commands_help lists the commands."""

    def add_argument(self, action: argparse.Action) -> None:
        if action.nargs != argparse.PARSER:
            super().add_argument(action)


def add_commands_help(
    parser: argparse.ArgumentParser, commands: Mapping[str, Mapping[str, str]]
) -> None:
    """A group for each kind of commands, which argparse has for options alone: by its title the
    commands' helps by their names."""
    width = max(len(name) for kind in commands.values() for name in kind)
    for title, kind in commands.items():
        lines = [f"{name:{width}}  {text}" for name, text in kind.items()]
        parser.add_argument_group(title, "\n".join(lines))
