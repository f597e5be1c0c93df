import ember

app = ember.App("greedy")


@app.function(gpu="B200:8")
def f() -> None:
    pass
