// What an examination finds: one line for people, and what to do about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ember {

enum class Verdict : std::uint8_t {
  ok,
  warning,  // Ember works, with something less or something to mind
  trouble,  // it does not, or not as it should
};

constexpr std::string_view verdict_name(Verdict verdict) {
  return verdict == Verdict::ok ? "ok" : verdict == Verdict::warning ? "warning" : "trouble";
}

struct Finding {
  Verdict verdict = Verdict::ok;
  std::string check;      // what was looked at, a word or two
  std::string text;       // what was found
  std::string next_step;  // what to do; empty where all is well
};

}  // namespace ember
