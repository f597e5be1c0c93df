#include "node/egress_counter.h"

#include <sstream>

namespace ember {
namespace {

constexpr int kFieldsOfReceived = 8;  // before those of what was transmitted

std::int64_t transmitted_by(const std::string& fields_of_interface) {
  std::istringstream fields(fields_of_interface);
  std::int64_t value = 0;
  for (int field = 0; field <= kFieldsOfReceived; ++field) fields >> value;
  return fields ? value : 0;
}

}  // namespace

std::int64_t transmitted_bytes(const std::string& net_dev) {
  std::int64_t total = 0;
  std::istringstream lines(net_dev);
  for (std::string line; std::getline(lines, line);) {
    const auto name_end = line.find(':');
    if (name_end == std::string::npos) continue;  // the heading
    const auto name_start = line.find_first_not_of(' ');
    if (line.substr(name_start, name_end - name_start) == "lo") continue;
    total += transmitted_by(line.substr(name_end + 1));
  }
  return total;
}

}  // namespace ember
