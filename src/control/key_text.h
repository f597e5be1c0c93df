// The text of an API key: "ember_", 256 random bits as 52 characters, and 7 more that check them.
// Digits and small letters without i, l, o, u, so that a key survives being read aloud and scanners
// of source code know one by its look.
#pragma once

#include <string>
#include <string_view>

namespace ember {

std::string generate_key();
// Whether it looks like a key of ours and cannot be one: cut short or mistyped. Keys without the
// prefix, of earlier versions, are never called damaged.
bool is_damaged_key(std::string_view key_text);

}  // namespace ember
