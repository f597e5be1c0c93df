// A process that is run in a container beside its first one, on the word of a client: a shell, or a
// command to look at what goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace ember {

struct ExecIdTag {
  static constexpr std::string_view kPrefix = "ex";
};
using ExecId = Id<ExecIdTag>;

struct TerminalSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

struct ExecSpec {
  std::vector<std::string> arguments;    // the program's name or path first
  std::optional<TerminalSize> terminal;  // none: three pipes
  std::string terminal_type;             // what TERM is; with a terminal alone
};

// Every limit; the message says what is wrong.
Result<> check(const ExecSpec& spec);

// How it ended: a status, or the signal that ended it.
struct ExecExit {
  int status = 0;
  int signal = 0;
};

}  // namespace ember
