"""A FastAPI app at a URL of its own: JSON, an upload of any size, a stream, a chat by WebSocket.

ember deploy examples/fastapi_app.py
curl http://fastapi-app.localhost:7778/items/3
"""

import ember

image = ember.Image.host().uv_pip_install("fastapi==0.165.0")
app = ember.App("fastapi-app", image=image)


@app.function()
@ember.concurrent(max_inputs=50)
@ember.asgi_app(label="fastapi-app", unauthenticated=True)
def web():
    """Runs once in each container; FastAPI is in the image, and need not be on this machine."""
    import hashlib

    from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
    from fastapi.responses import StreamingResponse

    pages = FastAPI(title="An app on Ember")

    @pages.get("/items/{item}")
    async def read(item: int, q: str = ""):
        return {"item": item, "q": q}

    @pages.post("/upload")
    async def upload(request: Request):
        digest, size = hashlib.sha256(), 0
        async for piece in request.stream():  # as it comes: no body is ever held whole
            digest.update(piece)
            size += len(piece)
        return {"bytes": size, "sha256": digest.hexdigest()}

    @pages.get("/words")
    async def words(text: str):
        return StreamingResponse((word + "\n" for word in text.split()), media_type="text/plain")

    @pages.websocket("/chat")
    async def chat(socket: WebSocket):
        await socket.accept()
        try:
            while True:
                await socket.send_text("you said: " + await socket.receive_text())
        except WebSocketDisconnect:
            print("the client has left", flush=True)

    return pages
