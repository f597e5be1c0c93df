// Looks for a text in others, whatever the case of ASCII letters, in time that is linear in them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ember {

class LineSearch {
 public:
  explicit LineSearch(std::string_view wanted);

  // An empty text is found everywhere.
  bool finds(std::string_view text) const;

 private:
  std::string wanted_;
  // Of each end of a part that has been found: how much of it may be the begin of the next try.
  std::vector<std::size_t> borders_;
};

}  // namespace ember
