// What an examination finds: one line for people, and what to do about it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

// What one check finds. Of trouble without end it keeps so much and counts the rest.
class FindingList {
 public:
  FindingList(std::string check, std::size_t most_troubles)
      : check_(std::move(check)), most_troubles_(most_troubles) {}

  void ok(std::string text) { add(Verdict::ok, std::move(text), ""); }
  void trouble(std::string text, std::string next_step) {
    if (++troubles_ > most_troubles_) return;
    add(Verdict::trouble, std::move(text), std::move(next_step));
  }
  std::size_t troubles() const { return troubles_; }

  // All of it, at its end how many are not shown. Nothing is to be added after.
  std::vector<Finding> take() {
    if (troubles_ > most_troubles_) {
      add(Verdict::trouble,
          "and " + std::to_string(troubles_ - most_troubles_) + " more of the kind",
          findings_.back().next_step);
    }
    return std::move(findings_);
  }

 private:
  void add(Verdict verdict, std::string text, std::string next_step) {
    findings_.push_back({verdict, check_, std::move(text), std::move(next_step)});
  }

  std::string check_;
  std::size_t most_troubles_;
  std::size_t troubles_ = 0;
  std::vector<Finding> findings_;
};

}  // namespace ember
