// The head of a web endpoint's answer, as a stranger's code in a container wrote it: read strictly,
// and cut to what may go on to a client.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ember {

struct AnswerHead {
  int status = 200;
  std::string fields;  // lines, without those that say where the body ends
  std::optional<std::uint64_t> content_length;
};

// "200\r\n" and the fields' lines. The message is for the app's owner.
Result<AnswerHead> parse_answer_head(std::string_view text);

}  // namespace ember
