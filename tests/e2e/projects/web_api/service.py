from werkzeug.wrappers import Response


def answer() -> Response:
    return Response("ok")
