"""The FastAPI side of warm_call: the same handler, once with a plain return, once with JSONResponse."""

from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()


@app.post("/plain")
async def plain(items: list = Body(embed=True)) -> list:
    return items


@app.post("/json_response")
async def json_response(items: list = Body(embed=True)):
    return JSONResponse(items)
