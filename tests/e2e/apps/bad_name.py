import ember

app = ember.App("no spaces, please")


@app.function()
def f() -> None:
    pass
