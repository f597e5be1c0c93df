// The Debian of this machine: its release, its Python, and where its packages come from.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace ember {

// "bookworm": the machine's own release, or that where the machine runs no Debian.
std::string debian_suite();
// The Python of that release: "3.11".
std::string debian_python();

// Of the machine's apt sources those of that release, as files for mmdebstrap in the directory;
// their names. None where the machine has none: then Debian's own mirror serves.
Result<std::vector<std::string>> write_apt_sources(const std::string& directory);

// The parts of that for one file's text, in either of apt's formats.
std::string list_of_suite(const std::string& text, const std::string& suite);
std::string stanzas_of_suite(const std::string& text, const std::string& suite);

}  // namespace ember
