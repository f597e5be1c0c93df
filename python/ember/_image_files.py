"""The local files that an image's steps bring: found and read at a deploy, and no sooner."""

from __future__ import annotations

import fnmatch
import os

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike

    # Uploads what the server lacks; the digest of the files.
    Upload = Callable[["Files"], str]

_ALWAYS_LEFT = ("__pycache__", ".git", ".venv", "node_modules", ".DS_Store")


class Files:
    """Local files by the paths that they get."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.path.expanduser(os.fspath(path))

    def find(self) -> dict[str, str]:
        """Path there -> path here; at least one."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.path)


class LocalFile(Files):
    """One file, under the name it gets."""

    def __init__(self, path: str | PathLike[str], remote: str) -> None:
        super().__init__(path)
        if not isinstance(remote, str) or not remote.startswith("/"):
            raise InvalidArgumentError(
                f"add_local_file: the remote path is absolute, such as /data/x.json, not {remote!r}"
            )
        directory, name = os.path.split(remote)
        self.directory = directory or "/"
        self.name = name or os.path.basename(self.path)

    def find(self) -> dict[str, str]:
        """The file."""
        if not os.path.isfile(self.path):
            raise InvalidArgumentError(f"add_local_file: {self.path} is no file here")
        return {self.name: self.path}


class LocalDirectory(Files):
    """What a directory holds."""

    def __init__(self, path: str | PathLike[str], ignore: tuple[str, ...]) -> None:
        super().__init__(path)
        self.ignore = ignore

    def find(self) -> dict[str, str]:
        """Its files, but for caches, repositories and what is ignored."""
        if not os.path.isdir(self.path):
            raise InvalidArgumentError(f"add_local_dir: {self.path} is no directory here")
        files = {there: here for there, here in walk(self.path) if not self._is_ignored(there)}
        if not files:
            raise InvalidArgumentError(f"add_local_dir: there is no file in {self.path}")
        return files

    def _is_ignored(self, path: str) -> bool:
        parts = path.split("/")
        heads = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        names = [*heads, *parts]
        return any(fnmatch.fnmatchcase(n, p.rstrip("/")) for n in names for p in self.ignore)

    def __repr__(self) -> str:
        return f"{self.path!r}, ignore={self.ignore!r}" if self.ignore else repr(self.path)


class RequirementsFile(Files):
    """A requirements.txt, with the files that it includes."""

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(path)
        self.name = os.path.basename(self.path)

    def find(self) -> dict[str, str]:
        """The file and those named in it by -r and -c."""
        found: dict[str, str] = {}
        self._add(self.name, found)
        return found

    def _add(self, name: str, found: dict[str, str]) -> None:
        here = os.path.join(os.path.dirname(self.path), name)
        if name in found:
            return
        if name.startswith(("/", "..")) or not os.path.isfile(here):
            raise InvalidArgumentError(
                f"pip_install_from_requirements: {here} is no file beside {self.path}"
            )
        found[name] = here
        for line in _lines(here):
            words = line.replace("=", " ", 1).split()
            if words[0] in ("-r", "-c", "--requirement", "--constraint") and len(words) > 1:
                beside = os.path.join(os.path.dirname(name), words[1])
                self._add(os.path.normpath(beside).replace(os.sep, "/"), found)

    def packages(self) -> list[str]:
        """The packages, where the file has nothing but packages of the index."""
        self.find()
        packages = list(_lines(self.path))
        if options := [line for line in packages if line.startswith("-")]:
            raise InvalidArgumentError(
                f"pip_install_from_requirements: over Image.host() {self.path} may name packages "
                f"alone, not {options[0]!r}; use Image.debian_slim()"
            )
        return packages


class ProjectLock(Files):
    """The pyproject.toml and uv.lock of a project."""

    def find(self) -> dict[str, str]:
        """Both files."""
        found = {name: os.path.join(self.path, name) for name in ("pyproject.toml", "uv.lock")}
        for path in found.values():
            if not os.path.isfile(path):
                raise InvalidArgumentError(
                    f"uv_sync: {path} is not there; `uv lock` in the project writes uv.lock"
                )
        return found


class PythonModules(Files):
    """Modules and packages that can be imported here."""

    def __init__(self, modules: list[str]) -> None:
        super().__init__(",".join(modules))
        self.modules = modules

    def find(self) -> dict[str, str]:
        """Their files, under the names by which they are imported."""
        import importlib.util

        found: dict[str, str] = {}
        for module in self.modules:
            known = importlib.util.find_spec(module)
            origin = known.origin if known else None
            if known is None or origin is None or not os.path.isfile(origin):
                raise InvalidArgumentError(
                    f"add_local_python_source: {module} cannot be imported here from a file"
                )
            if known.submodule_search_locations is None:
                found[module.replace(".", "/") + ".py"] = origin
                continue
            for there, here in walk(os.path.dirname(origin)):
                found[module.replace(".", "/") + "/" + there] = here
        return found


class FunctionSource(Files):
    """A function to run in a build, and the source that it needs."""

    def __init__(self, function: object) -> None:
        raw = getattr(function, "raw", None) or function  # as written, of an Ember function
        self.module = getattr(raw, "__module__", "")
        self.qualname = getattr(raw, "__qualname__", "")
        super().__init__(f"{self.module}.{self.qualname}")
        if not callable(raw) or not self.module or "<" in self.qualname or not self.qualname:
            raise InvalidArgumentError(
                "run_function: give it a function at the top of its module; the build finds it "
                "there by its name"
            )

    def find(self) -> dict[str, str]:
        """The files of its module and what goes along with it."""
        from ember import _source

        return _source.collect([self.module]).files


class DockerContext(Files):
    """A Dockerfile and the directory that its COPY takes from."""

    def __init__(
        self,
        path: str | PathLike[str],
        context: str | PathLike[str] | None,
        build_args: dict[str, str],
    ) -> None:
        super().__init__(path)
        self.context = os.path.dirname(self.path) or "." if context is None else os.fspath(context)
        self.build_args = build_args
        # Where it does not lie in the context it goes along under a name of its own.
        inside = os.path.relpath(os.path.abspath(self.path), os.path.abspath(self.context))
        self.name = ".ember-dockerfile" if inside.startswith("..") else inside.replace(os.sep, "/")

    def find(self) -> dict[str, str]:
        """The context's files, less those that its .dockerignore names."""
        if not os.path.isfile(self.path):
            raise InvalidArgumentError(f"from_dockerfile: {self.path} is no file here")
        everything = LocalDirectory(self.context, self._ignored())
        found = dict(everything.find()) if os.path.isdir(self.context) else {}
        found[self.name] = self.path
        return found

    def bases(self) -> list[str]:
        """The images that its stages stand on, to be had before it is built."""
        from ember._dockerfile import bases

        with open(self.path, encoding="utf-8") as file:
            return bases(file.read(), self.build_args)

    def _ignored(self) -> tuple[str, ...]:
        path = os.path.join(self.context, ".dockerignore")
        patterns = list(_lines(path)) if os.path.isfile(path) else []
        # The builder reads it too; exceptions from the rule are left to it.
        if any(pattern.startswith("!") for pattern in patterns):
            return ()
        return tuple(pattern.removeprefix("/").removeprefix("**/") for pattern in patterns)

    def __repr__(self) -> str:
        return f"{self.path!r}, {self.context!r}, {self.build_args!r}"


def walk(directory: str) -> Iterator[tuple[str, str]]:
    """The files below a directory: their paths in it, with '/', and here."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(d for d in directories if d not in _ALWAYS_LEFT)
        for name in sorted(names):
            here = os.path.join(parent, name)
            if name not in _ALWAYS_LEFT and os.path.isfile(here):
                yield os.path.relpath(here, directory).replace(os.sep, "/"), here


def _lines(path: str) -> Iterator[str]:
    """The lines that say something, without comments."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            text = line.split(" #")[0].strip()
            if text and not text.startswith("#"):
                yield text
