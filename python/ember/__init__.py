"""Ember: serverless functions on the GPUs you hold.

Everything public is here. Names are loaded on first use, so that `import ember` costs next to
nothing in a container and on the command line.
"""

from __future__ import annotations

import sys

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ember import exception as exception
    from ember import webhook as webhook
    from ember._app import App as App
    from ember._app import LocalEntrypoint as LocalEntrypoint
    from ember._batching import batched as batched
    from ember._checkpoint import checkpoint as checkpoint
    from ember._checkpoint import latest_checkpoint as latest_checkpoint
    from ember._class_parameter import parameter as parameter
    from ember._cls import Cls as Cls
    from ember._context import current_call_id as current_call_id
    from ember._context import current_input_id as current_input_id
    from ember._context import is_local as is_local
    from ember._function import Function as Function
    from ember._function import concurrent as concurrent
    from ember._function_call import FunctionCall as FunctionCall
    from ember._function_call import gather as gather
    from ember._image import Image as Image
    from ember._lifecycle import enter as enter
    from ember._lifecycle import exit as exit
    from ember._lifecycle import method as method
    from ember._output import enable_output as enable_output
    from ember._progress import progress as progress
    from ember._retries import Retries as Retries
    from ember._schedule import Cron as Cron
    from ember._schedule import Period as Period
    from ember._secret import Secret as Secret
    from ember._shared_dict import Dict as Dict
    from ember._shared_queue import Queue as Queue
    from ember._volume import Volume as Volume
    from ember._web import asgi_app as asgi_app
    from ember._web import fastapi_endpoint as fastapi_endpoint
    from ember._web import web_server as web_server
    from ember._web import wsgi_app as wsgi_app
    from ember.exception import EmberError as EmberError
    from ember.exception import InputCancelled as InputCancelled
    from ember.exception import PendingError as PendingError

_HOMES = {
    "exception": "ember.exception",
    "webhook": "ember.webhook",
    "App": "ember._app",
    "LocalEntrypoint": "ember._app",
    "batched": "ember._batching",
    "Cls": "ember._cls",
    "parameter": "ember._class_parameter",
    "enter": "ember._lifecycle",
    "exit": "ember._lifecycle",
    "method": "ember._lifecycle",
    "Function": "ember._function",
    "concurrent": "ember._function",
    "FunctionCall": "ember._function_call",
    "gather": "ember._function_call",
    "checkpoint": "ember._checkpoint",
    "latest_checkpoint": "ember._checkpoint",
    "enable_output": "ember._output",
    "progress": "ember._progress",
    "Retries": "ember._retries",
    "Cron": "ember._schedule",
    "Period": "ember._schedule",
    "Image": "ember._image",
    "Secret": "ember._secret",
    "Dict": "ember._shared_dict",
    "Queue": "ember._shared_queue",
    "Volume": "ember._volume",
    "asgi_app": "ember._web",
    "fastapi_endpoint": "ember._web",
    "web_server": "ember._web",
    "wsgi_app": "ember._web",
    "current_call_id": "ember._context",
    "current_input_id": "ember._context",
    "is_local": "ember._context",
    "EmberError": "ember.exception",
    "InputCancelled": "ember.exception",
    "PendingError": "ember.exception",
}


def __getattr__(name: str) -> object:
    # Asked for every submodule too, by `from ember import _x`: nothing may be imported for those.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ember' has no attribute {name!r}")
    __import__(home)
    module = sys.modules[home]
    value = module if name in ("exception", "webhook") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
