import no_such_module_anywhere  # noqa: F401  # pyright: ignore[reportMissingImports]

import ember

app = ember.App("does-not-import")
