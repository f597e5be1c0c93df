"""tools/tidy finds what it says it finds, and nothing in clean code."""

import subprocess
from pathlib import Path

import pytest

TIDY = Path(__file__).resolve().parent.parent / "tidy"


def findings(root: Path, name: str, text: str) -> str:
    """What tidy says of a checkout that holds this one file."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    subprocess.run(["git", "init", "-q", root], check=True)
    command = [TIDY, "--root", root, "--no-format"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout


CLEAN = '#pragma once\n#include "base/id.h"\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "src/queue/a.h",
            '#pragma once\n#include "scheduler/b.h"\n',
            "queue may not include scheduler",
        ),
        ("src/gateway/a.h", '#pragma once\n#include "control/live.h"\n', "not a public face"),
        ("src/cellar/a.h", CLEAN, "not a folder of the house"),
        ("src/model/a.h", '#include "base/id.h"\n', "#pragma once"),
        ("src/engine/a.cc", "#include <chrono>\n", "reads a clock"),
        ("src/engine/a.cc", '#include "base/wall_clock.h"\n', "reads a clock"),
        ("src/engine/a.cc", "#include <mutex>\n", "uses threads"),
        ("src/engine/a.cc", "#include <fstream>\n", "does I/O"),
        ("src/engine/a.cc", "void f() { throw 1; }\n", "uses exceptions"),
        ("src/engine/a.cc", "int x = rand();\n", "unseeded chance"),
        (
            "src/engine/a.cc",
            "std::unordered_map<int, int> seen_;\nvoid f() {\n  for (auto& x : seen_) g(x);\n}\n",
            "order depends on hashes",
        ),
        ("src/store/a.cc", "int x;\n" * 801, "801 lines"),
        ("ARCHITECTURE.md", "see `queue/gone.h`\n", "ARCHITECTURE.md:1: there is no queue/gone.h"),
    ],
)
def test_names_a_broken_rule(tmp_path: Path, name: str, text: str, said: str) -> None:
    assert said in findings(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/queue/a.h", CLEAN),
        ("src/app/main.cc", '#include "gateway/server.h"\n#include "control/live.h"\n'),
        ("src/engine/a.cc", "// we never throw here, and rand() is banned\nint x;\n"),
        ("src/store/a_test.cc", "int x;\n" * 801),
        ("src/node/a.cc", "#include <chrono>\n#include <sys/mount.h>\n"),
    ],
)
def test_leaves_clean_code_alone(tmp_path: Path, name: str, text: str) -> None:
    assert findings(tmp_path, name, text) == ""


def test_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to("elsewhere")
    assert "venv:1: a link" in findings(tmp_path, "docs/a.md", "clean\n")
