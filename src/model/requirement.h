// A Python package as an image may ask for it: what the index has under a name.
#pragma once

#include <string_view>

namespace ember {

// NAME [EXTRAS] VERSIONS ; MARKER, each part after the name at will: "numpy", "fastapi[standard]",
// "torch >=2.1, <3", "tomli; python_version < '3.11'" (PEP 508 without its addresses). No path and
// no address can be written in it, so that it leads to the index alone.
bool is_requirement(std::string_view text);

}  // namespace ember
