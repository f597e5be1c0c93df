#include "model/shared_state.h"

namespace ember {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

// The length of the character that begins the text; 0 where it is none of UTF-8. Surrogates and
// longer forms than needed are none.
std::size_t character_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = at(1);
  const bool is_too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool is_no_character = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  return is_too_long || is_no_character ? 0 : length;
}

bool is_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = text[0] == '\0' ? 0 : character_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::string_view shared_kind_name(SharedKind kind) {
  return kind == SharedKind::dict ? "dict" : "queue";
}

Result<> check_dict_key(std::string_view key) {
  if (key.empty()) return invalid("a key has at least one character");
  if (key.size() > kMaxDictKeyBytes) {
    return invalid("the key has " + std::to_string(key.size()) + " bytes; the most is " +
                   std::to_string(kMaxDictKeyBytes));
  }
  if (!is_text(key)) return invalid("the key is not UTF-8 text without zero bytes");
  return Ok{};
}

Result<> check_partition(std::string_view name) {
  if (name.size() > kMaxPartitionName) {
    return invalid("a partition's name has at most " + std::to_string(kMaxPartitionName) +
                   " bytes");
  }
  if (!is_text(name)) return invalid("a partition's name is UTF-8 text without zero bytes");
  return Ok{};
}

Result<> check_shared_value(SharedKind kind, std::size_t size_bytes) {
  const bool is_dict = kind == SharedKind::dict;
  const std::size_t most = is_dict ? kMaxDictValueBytes : kMaxQueueItemBytes;
  if (size_bytes <= most) return Ok{};
  return {ErrorCode::payload_too_large, std::string(is_dict ? "a value" : "an item") + " of " +
                                            std::to_string(size_bytes) +
                                            " bytes is over the limit of " + std::to_string(most) +
                                            "; keep it in a volume, and its path here"};
}

}  // namespace ember
