// covers: src/model/requirement.cc
//
// A package that an image asks for: what is accepted leads to the index and nowhere else.
#include "model/requirement.h"
#include "base/assert.h"
#include "targets.h"

namespace ember::fuzz {

void requirement(std::string_view bytes) {
  if (!is_requirement(bytes)) return;
  EMBER_ASSERT(bytes.find_first_of("/\\@:|&$`#?%{}\n\r\t") == std::string_view::npos);
  EMBER_ASSERT(bytes.find('\0') == std::string_view::npos);
  const std::size_t first = bytes.find_first_not_of(' ');
  EMBER_ASSERT(bytes[first] != '-' && bytes[first] != '.');
}

}  // namespace ember::fuzz
