"""The reference of failoverctl as Markdown, from the commands themselves: `python -m failoverd.ctl.reference > docs/failoverctl.md`."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc

import click

from failoverd.ctl.main import main

HEADER = """# failoverctl

Made from the commands themselves (`make docs`); `failoverctl VERB --help` says the same. Every verb takes `-o json` (the shapes are in
`schema/api.json`) and `--socket PATH`, before or after its name.
"""
COMPLETION = """## Completion

| shell | once, in its start-up file |
|---|---|
| bash | `eval "$(_FAILOVERCTL_COMPLETE=bash_source failoverctl)"` |
| zsh | `eval "$(_FAILOVERCTL_COMPLETE=zsh_source failoverctl)"` |
| fish | `_FAILOVERCTL_COMPLETE=fish_source failoverctl \\| source` |
"""
EVERYWHERE = {"output", "socket", "help"}


def verbs(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb below a command, by name, groups left out."""
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name in sorted(command.commands):
        yield from verbs(command.commands[name], (*words, name))


def reference() -> str:
    """The whole document."""
    found = list(verbs(main))
    parts = [HEADER, "| verb | what it is for |\n|---|---|"]
    parts[1] += "".join(f"\n| [`{' '.join(words)}`](#{'-'.join(words)}) | {_first(verb)} |" for words, verb in found)
    parts += [_verb(words, verb) for words, verb in found]
    parts += [COMPLETION, _codes()]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _first(verb: click.Command) -> str:
    return _paragraphs(verb)[0]


def _paragraphs(verb: click.Command) -> list[str]:
    return [" ".join(part.split()) for part in cleandoc(verb.help or "").split("\n\n")]


def _verb(words: tuple[str, ...], verb: click.Command) -> str:
    context = click.Context(verb, info_name="failoverctl " + " ".join(words))
    usage = " ".join([context.command_path, *(piece for piece in verb.collect_usage_pieces(context) if piece != "[OPTIONS]")])
    text = "\n\n".join(_paragraphs(verb))
    rows = [
        _option(option, context) for option in verb.params if isinstance(option, click.Option) and option.name not in EVERYWHERE
    ]
    table = "\n\n| option | |\n|---|---|\n" + "\n".join(rows) if rows else ""
    return f"## {' '.join(words)}\n\n    {usage}\n\n{text}{table}"


def _option(option: click.Option, context: click.Context) -> str:
    names, text = option.get_help_record(context) or ("", "")
    return f"| `{names.replace('|', ', ')}` | {' '.join(text.split())} |"


def _codes() -> str:
    from failoverd.ctl.session import EXIT_CODES
    from failoverd.ctl.watching import CHECK_CODES

    def rows(codes: str) -> str:
        pairs = [line.split(None, 1) for line in codes.splitlines() if line.startswith("  ")]
        return "\n".join(f"| {code} | {text} |" for code, text in pairs)

    head = "| code | |\n|---|---|\n"
    return f"## Exit codes\n\n{head}{rows(EXIT_CODES)}\n\nOf `check`, as monitoring plugins have them:\n\n{head}{rows(CHECK_CODES)}"


if __name__ == "__main__":
    print(reference(), end="")
