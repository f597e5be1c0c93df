"""The FastAPI side of warm_call: the same handler with a plain return, with its return type declared, with JSONResponse.

A declared type is what lets FastAPI write the JSON in Rust instead of walking the objects in Python first.
"""

from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse

app = FastAPI()


@app.post("/plain")
async def plain(items: list = Body(embed=True)):
    return items


@app.post("/typed")
async def typed(items: list = Body(embed=True)) -> list:
    return items


@app.post("/json_response")
async def json_response(items: list = Body(embed=True)):
    return JSONResponse(items)
