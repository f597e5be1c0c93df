#include "model/requirement.h"

#include <algorithm>

namespace ember {
namespace {

// A name that ends so is a file to uv, wherever it looks for it.
constexpr std::string_view kArchives[] = {".whl", ".zip", ".tar", ".tgz", ".tbz",  ".txz", ".tlz",
                                          ".gz",  ".bz2", ".xz",  ".lz",  ".lzma", ".zst"};
constexpr std::string_view kOperators[] = {"===", "~=", "==", "!=", "<=", ">=", "<", ">"};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_in_name(char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; }

bool is_in_version(char c) { return is_in_name(c) || c == '*' || c == '+' || c == '!'; }

bool is_in_marker(char c) {
  return is_in_version(c) || std::string_view(" \"'<>=~()").find(c) != std::string_view::npos;
}

bool names_archive(std::string_view name) {
  return std::ranges::any_of(kArchives, [&](auto ending) { return name.ends_with(ending); });
}

// Takes a requirement from the left; each step says whether what it takes was there.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool name() {
    const std::string_view taken = take_while(is_in_name);
    return !taken.empty() && is_letter_or_digit(taken.front()) &&
           is_letter_or_digit(taken.back()) && !names_archive(taken);
  }

  bool extras() {
    do {
      if (!name()) return false;
    } while (word(","));
    return word("]");
  }

  bool versions() {
    do {
      if (std::ranges::none_of(kOperators, [&](auto one) { return word(one); })) return false;
      if (take_while(is_in_version).empty()) return false;
    } while (word(","));
    return true;
  }

  bool marker() { return !take_while(is_in_marker).empty(); }

  bool word(std::string_view expected) {
    skip_blanks();
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  bool is_at(std::string_view characters) {
    skip_blanks();
    return !rest_.empty() && characters.find(rest_.front()) != std::string_view::npos;
  }

  bool is_at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  void skip_blanks() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  std::string_view take_while(bool (*belongs)(char)) {
    skip_blanks();
    const auto end = std::ranges::find_if_not(rest_, belongs);
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view rest_;
};

}  // namespace

bool is_requirement(std::string_view text) {
  Scanner scanner(text);
  if (!scanner.name()) return false;
  if (scanner.word("[") && !scanner.extras()) return false;
  if (scanner.is_at("=~!<>") && !scanner.versions()) return false;
  if (scanner.word(";") && !scanner.marker()) return false;
  return scanner.is_at_end();
}

}  // namespace ember
