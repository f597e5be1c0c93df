import ember
import no_such_module_anywhere

app = ember.App("does-not-import")
