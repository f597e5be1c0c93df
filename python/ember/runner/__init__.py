"""The process in a container that runs a function: `python3 -m ember.runner`.

It reads function.json, connects to the server's socket, imports the user's module and then runs
inputs until it is told to stop. docs/reference/runner-protocol.md says what goes over the socket.

    __main__.py   the life of the process
    _frames.py    frames in and out of the socket
    _runner.py    what all modes share: running one input, answering, reporting
    _sync.py      one input at a time, on the main thread
    _threads.py   several at a time, on threads
    _tasks.py     several at a time, on one event loop
    _codec.py     arguments in, results and errors out
    _logs.py      stdout and stderr, tagged with the input that wrote them
    _secrets.py   secrets into the environment or files, before the function is loaded
    _calls.py     calls of other functions, over the same socket

Only the standard library and cloudpickle, and of those as little as possible before it is needed:
every import here is part of each cold start.
"""
