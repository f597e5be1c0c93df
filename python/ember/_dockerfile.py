"""Which images a Dockerfile stands on. Everything else in it is the builder's business."""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_FROM_OPTION = re.compile(r"--from=(\S+)")


def bases(text: str, build_args: dict[str, str]) -> list[str]:
    """The images named by FROM and by `--from=`, each once, in the order they appear.

    Arguments declared before the first FROM stand in for variables, as `build_args` sets them.
    """
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    found: list[str] = []
    seen_from = False
    for instruction, rest in _instructions(text):
        if instruction == "ARG" and not seen_from:
            name, _, default = rest.partition("=")
            arguments[name.strip()] = build_args.get(name.strip(), default.strip().strip("\"'"))
        elif instruction == "FROM":
            seen_from = True
            words = [word for word in _expand(rest, arguments).split() if not word.startswith("--")]
            if words and words[0].lower() not in {*stages, "scratch"}:
                found.append(words[0])
            if len(words) > 2 and words[1].upper() == "AS":
                stages.add(words[2].lower())
        elif instruction in ("COPY", "ADD", "RUN"):
            for source in _FROM_OPTION.findall(_expand(rest.split("<<")[0], arguments)):
                name = source.split(",")[0]
                if name.lower() not in stages and not name.isdigit():
                    found.append(name)
    return list(dict.fromkeys(found))


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\s*\n", " ", text)
    pairs = []
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word and not word.startswith("#"):
            pairs.append((word.upper(), rest.strip()))
    return pairs


def _expand(text: str, arguments: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        return arguments.get(name) or match[2] or ""

    return _VARIABLE.sub(value, text)
