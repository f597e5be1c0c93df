#include "control/line_search.h"

namespace ember {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

// By Knuth, Morris and Pratt.
LineSearch::LineSearch(std::string_view wanted) : borders_(wanted.size() + 1, 0) {
  for (const char c : wanted) wanted_.push_back(lower(c));
  for (std::size_t i = 1, border = 0; i < wanted_.size(); ++i) {
    while (border > 0 && wanted_[border] != wanted_[i]) border = borders_[border];
    if (wanted_[border] == wanted_[i]) ++border;
    borders_[i + 1] = border;
  }
}

bool LineSearch::finds(std::string_view text) const {
  std::size_t found = 0;
  for (const char c : text) {
    if (found == wanted_.size()) return true;
    while (found > 0 && wanted_[found] != lower(c)) found = borders_[found];
    if (wanted_[found] == lower(c)) ++found;
  }
  return found == wanted_.size();
}

}  // namespace ember
