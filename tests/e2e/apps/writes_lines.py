"""A function that writes as much as it is told, and goes soon after its last call."""

import ember

app = ember.App("writes-lines")


@app.function(scaledown_window=2)
def write(lines: int, text: str) -> int:
    for i in range(lines):
        print(f"{text} {i}")
    return lines
