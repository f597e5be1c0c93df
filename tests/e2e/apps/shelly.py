"""What shells are opened beside, and what operators look into."""

import os
import time

import ember

app = ember.App("shelly")
image = ember.Image.host()


@app.function(scaledown_window=3600, env={"COLOUR": "green"})
def greet(name: str = "you") -> str:
    print(f"greeting {name}")
    return f"Hello, {name}!"


@app.function(scaledown_window=3600)
def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.05)
    return os.environ["EMBER_CONTAINER_ID"]


@app.function(scaledown_window=3600)
def environment() -> dict[str, str]:
    return dict(os.environ)


@app.function()
def who() -> list[str]:
    return [ember.current_call_id() or "", ember.current_input_id() or ""]
