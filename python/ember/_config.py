"""Where the server is and which key opens it: the environment, else what `ember up` wrote."""

from __future__ import annotations

import os

from ember.exception import AuthError, UnavailableError


class Config:
    """A server's URL (without a slash at the end) and the key to send."""

    __slots__ = ("key", "url")

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key


def data_directory() -> str:
    """The directory that `ember up` uses unless told otherwise."""
    told = os.environ.get("EMBER_DATA")
    if told:
        return told
    if os.geteuid() == 0:
        return "/var/lib/ember"
    return os.path.join(os.path.expanduser("~"), ".local", "share", "ember")


def load() -> Config:
    """EMBER_URL and EMBER_KEY, each else the file `url` or `key` of the data directory."""
    directory = data_directory()
    url = os.environ.get("EMBER_URL") or _first_line(os.path.join(directory, "url"))
    if not url:
        raise UnavailableError(
            f"no Ember server is known: {directory}/url is not there; run `ember up`, "
            "or set EMBER_URL and EMBER_KEY"
        )
    key = os.environ.get("EMBER_KEY") or _first_line(os.path.join(directory, "key"))
    if not key:
        raise AuthError(f"no key for {url}: set EMBER_KEY, or let me read {directory}/key")
    return Config(url, key)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().strip()
    except OSError:
        return ""
