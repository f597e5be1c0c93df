"""Images: what a container's file system is made of, declared as a chain of steps.

Declaring one reads no file and talks to no server, since the same lines run in containers, where
the files are not. A deploy resolves it: local files are uploaded, and the server gets the spec.
"""

from __future__ import annotations

from ember.exception import InvalidArgumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike
    from typing import Any

    from ember._image_files import Files, Upload
    from ember._secret import Secret


class Step:
    """One step, or the base: its kind, what it names, and the local files that it brings."""

    __slots__ = ("arguments", "files", "kind", "options")

    def __init__(
        self,
        kind: str,
        arguments: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        files: Files | None = None,
    ) -> None:
        self.kind = kind
        self.arguments = tuple(arguments)
        self.options = {name: value for name, value in (options or {}).items() if value}
        self.files = files

    def spec(self, upload: Upload) -> dict[str, Any]:
        """The JSON form of docs/reference/images.md."""
        spec: dict[str, Any] = {"kind": self.kind, "arguments": list(self.arguments)}
        if self.options:
            spec["options"] = self.options
        if self.files is not None:
            spec["files"] = upload(self.files)
        return spec

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.options.items()]
        files = [] if self.files is None else [repr(self.files)]
        return f"{self.kind}({', '.join([*map(repr, self.arguments), *files, *named])})"


class Image:
    """An immutable recipe: each method returns a new image. Nothing is built before a deploy."""

    __slots__ = ("_base", "_steps")

    def __init__(self, base: Step, steps: tuple[Step, ...] = ()) -> None:
        self._base = base
        self._steps = steps

    # --- bases ---

    @staticmethod
    def host() -> Image:
        """The machine's own /usr, read-only, with its /usr/bin/python3."""
        return Image(Step("host"))

    @staticmethod
    def debian_slim(python_version: str | None = None) -> Image:
        """A small Debian from the node's own package sources, with Python and pip.

        python_version: "3.12"; left out, Debian's own. Others come from the builds that uv knows.
        """
        if python_version is None:
            return Image(Step("debian_slim"))
        return Image(Step("debian_slim", [_text("python_version", python_version)]))

    @staticmethod
    def from_registry(
        ref: str, *, add_python: str | None = None, auth: Secret | None = None
    ) -> Image:
        """An image of a registry ("python:3.11-slim"), docker or OCI.

        Also a local "oci:/path/to/layout:tag" or "docker-archive:/path/to/file.tar" of the node.
        add_python: the version to add, where the image has no Python.
        auth: a Secret.from_name with REGISTRY_USERNAME and REGISTRY_PASSWORD, for one that asks.
        """
        options = {"add_python": add_python or "", "auth": _auth(auth)}
        return Image(Step("registry", [_text("ref", ref)], options))

    @staticmethod
    def from_dockerfile(
        path: str | PathLike[str],
        context: str | PathLike[str] | None = None,
        *,
        build_args: Mapping[str, str] | None = None,
        target: str | None = None,
        add_python: str | None = None,
    ) -> Image:
        """What the Dockerfile describes. context: the directory of its COPY; else its own."""
        from ember._image_files import DockerContext

        files = DockerContext(path, context, dict(build_args or {}))
        return Image(
            DockerfileStep(files, {"target": target or "", "add_python": add_python or ""})
        )

    # --- steps ---

    def apt_install(self, *packages: str) -> Image:
        """Adds packages of the image's Debian or Ubuntu."""
        return self._with("apt_install", _packages("apt_install", packages))

    def pip_install(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
    ) -> Image:
        """Installs with the image's own pip; packages may compile, if the image has a compiler."""
        options = {
            "index_url": index_url or "",
            "extra_index_url": extra_index_url or "",
            "pre": "true" if pre else "",
        }
        return self._with("pip_install", _packages("pip_install", packages), options)

    def uv_pip_install(self, *packages: str, no_deps: bool = False) -> Image:
        """Adds a layer with Python packages of the index, named as for pip ("numpy>=2", no URL).

        Wheels alone, so that nothing of a package runs; files of uv's cache are in the layer
        without a second copy. no_deps: without what they depend on.
        """
        options = {"no_deps": "true" if no_deps else ""}
        return self._with("uv_pip_install", _packages("uv_pip_install", packages), options)

    def pip_install_from_requirements(
        self,
        path: str | PathLike[str],
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
    ) -> Image:
        """Installs what a requirements.txt names, with the files beside it that it refers to."""
        from ember._image_files import RequirementsFile

        files = RequirementsFile(path)
        if self._base.kind == "host":
            return self._and(HostRequirementsStep(files))
        options = {
            "path": files.name,
            "index_url": index_url or "",
            "extra_index_url": extra_index_url or "",
        }
        return self._with("pip_install_from_requirements", (), options, files)

    def uv_sync(
        self,
        project: str | PathLike[str] = ".",
        *,
        groups: Sequence[str] = (),
        extras: Sequence[str] = (),
    ) -> Image:
        """Installs exactly what a project's uv.lock names (the project's own code stays behind)."""
        from ember._image_files import ProjectLock

        options = {"groups": ",".join(groups), "extras": ",".join(extras)}
        return self._with("uv_sync", (), options, ProjectLock(project))

    def run_commands(self, *commands: str) -> Image:
        """Runs shell commands, one after the other, each in a shell of its own."""
        return self._with("run_commands", _texts("run_commands", commands))

    def run_function(self, function: Callable[[], object]) -> Image:
        """Runs a function of yours in the image, for what it leaves in files (downloads, say)."""
        from ember._image_files import FunctionSource

        source = FunctionSource(function)
        options = {"module": source.module, "qualname": source.qualname}
        return self._with("run_function", (), options, source)

    def env(self, variables: Mapping[str, str]) -> Image:
        """Sets variables for the steps that follow, and for containers."""
        for name, value in variables.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidArgumentError(f"env: {name!r} and its value must be str")
        return self._with("env", [f"{name}={value}" for name, value in variables.items()])

    def workdir(self, path: str) -> Image:
        """Where the steps that follow, and containers, begin; made if it is not there."""
        return self._with("workdir", [_text("workdir", path)])

    def entrypoint(self, command: Sequence[str]) -> Image:
        """A program that containers start with; it must end by executing its arguments."""
        return self._with("entrypoint", _texts("entrypoint", command))

    def add_local_file(self, local: str | PathLike[str], remote: str) -> Image:
        """Adds a file of this machine; a remote path that ends with "/" is a directory."""
        from ember._image_files import LocalFile

        files = LocalFile(local, remote)
        return self._with("add_local", (), {"to": files.directory}, files)

    def add_local_dir(
        self, local: str | PathLike[str], remote: str, *, ignore: Sequence[str] = ()
    ) -> Image:
        """Adds what a directory of this machine holds, less what the glob patterns name."""
        from ember._image_files import LocalDirectory

        files = LocalDirectory(local, tuple(ignore))
        return self._with("add_local", (), {"to": _text("remote", remote)}, files)

    def add_local_python_source(self, *modules: str) -> Image:
        """Adds Python packages or modules that can be imported here, so that they can be there."""
        from ember._image_files import PythonModules

        files = PythonModules(_packages("add_local_python_source", modules))
        return self._with("add_local", (), {"to": "/root"}, files).env({"PYTHONPATH": "/root"})

    def imports(self) -> Imports:
        """For `with image.imports():` around imports of what only the image has."""
        return Imports()

    # --- what it is ---

    def spec(self, upload: Upload) -> dict[str, Any]:
        """The JSON form of docs/reference/images.md; `upload` takes the local files."""
        base = "host" if self._base.kind == "host" else self._base.spec(upload)
        return {"base": base, "steps": [step.spec(upload) for step in self._steps]}

    def _with(
        self,
        kind: str,
        arguments: Sequence[str],
        options: Mapping[str, str] | None = None,
        files: Files | None = None,
    ) -> Image:
        return self._and(Step(kind, arguments, options, files))

    def _and(self, step: Step) -> Image:
        return Image(self._base, (*self._steps, step))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Image.{self._base!r}" + "".join(f".{step!r}" for step in self._steps)


class Imports:
    """Lets an ImportError pass here, where the image's packages are not; not in containers."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> bool:
        from ember import _context

        is_missing = kind is not None and issubclass(kind, ImportError)
        return is_missing and not _context.in_container


class DockerfileStep(Step):
    """A base from a Dockerfile: what it stands on and its arguments show when it is read."""

    __slots__ = ()

    def __init__(self, files: Files, options: Mapping[str, str]) -> None:
        super().__init__("dockerfile", (), options, files)

    def spec(self, upload: Upload) -> dict[str, Any]:
        """The JSON form, with what the Dockerfile says that its bases are."""
        from ember._image_files import DockerContext

        assert isinstance(self.files, DockerContext)
        spec = super().spec(upload)
        spec["arguments"] = [f"{name}={value}" for name, value in self.files.build_args.items()]
        spec["options"] = {
            **self.options,
            "path": self.files.name,
            **({"from": " ".join(bases)} if (bases := self.files.bases()) else {}),
        }
        return spec


class HostRequirementsStep(Step):
    """Requirements over the machine's own /usr: packages of the index, in a layer beside it."""

    __slots__ = ()

    def __init__(self, files: Files) -> None:
        super().__init__("pip_install_from_requirements", (), None, files)

    def spec(self, upload: Upload) -> dict[str, Any]:
        """The JSON form, with the packages that the file names."""
        from ember._image_files import RequirementsFile

        del upload
        assert isinstance(self.files, RequirementsFile)
        return {"kind": "uv_pip_install", "arguments": self.files.packages()}


def _auth(auth: Secret | None) -> str:
    """The name of the secret: builds and rebuilds look its values up themselves."""
    if auth is None:
        return ""
    from ember._secret import Secret

    if not isinstance(auth, Secret) or not auth.name:
        raise InvalidArgumentError(
            "auth: expected a Secret.from_name(...) with REGISTRY_USERNAME and REGISTRY_PASSWORD; "
            "`ember secret create` makes one"
        )
    return auth.name


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgumentError(f"{what}: expected a text, got {value!r}")
    return value


def _texts(what: str, values: Sequence[object]) -> list[str]:
    if isinstance(values, str) or not values:
        raise InvalidArgumentError(f"{what}: expected one or more texts")
    return [_text(what, value) for value in values]


def _packages(what: str, packages: Sequence[str]) -> list[str]:
    if not packages:
        raise InvalidArgumentError(f"{what}: name at least one package")
    for package in packages:
        if not isinstance(package, str) or not package.strip() or package.startswith("-"):
            raise InvalidArgumentError(f"{what}: {package!r} is not a package")
    return list(packages)
