import ember
import no_such_module_anywhere  # noqa: F401  # pyright: ignore[reportMissingImports]

app = ember.App("does-not-import")
